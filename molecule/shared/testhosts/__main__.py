"""Test hosts, by hand.

python molecule/shared/testhosts up NAME...      start hosts (and what lies outside of them), print their inventory
python molecule/shared/testhosts scenario h100   a bare host of one molecule scenario
python molecule/shared/testhosts down [NAME...]  remove hosts; without a name everything but the images
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from testhosts import down, host, scenario


def main() -> int:
    match sys.argv[1:]:
        case ["up", *names] if names:
            print(json.dumps({name: host(name) for name in names}, indent=2))
        case ["scenario", name]:
            print(scenario(name))
        case ["down", *names]:
            down(names)
        case _:
            print(__doc__)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
