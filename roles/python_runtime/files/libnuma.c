/* A stand-in for libnuma.so.1 on machines that have none and whose user may not install packages.
 *
 * vLLM's CPU kernels link libnuma and call it only to bind memory to NUMA nodes. On a machine for trying it there is
 * one node, and nothing to bind: numa_available() says that there is no NUMA, the rest succeed and do nothing.
 * Only what vLLM imports is here (nm -D --undefined-only). The real library is used wherever the system has it.
 */
#include <stddef.h>

struct bitmask { unsigned long size; unsigned long *maskp; };

static unsigned long word = 1; /* node 0 */
static struct bitmask node0 = { 8 * sizeof(unsigned long), &word };

int numa_available(void) { return -1; }
void numa_bitmask_free(struct bitmask *mask) { (void)mask; }
struct bitmask *numa_get_mems_allowed(void) { return &node0; }
int numa_migrate_pages(int pid, struct bitmask *from, struct bitmask *to) { (void)pid; (void)from; (void)to; return 0; }
struct bitmask *numa_parse_nodestring(const char *text) { (void)text; return &node0; }
void numa_set_interleave_mask(struct bitmask *mask) { (void)mask; }
void numa_set_membind(struct bitmask *mask) { (void)mask; }
void numa_set_strict(int flag) { (void)flag; }
