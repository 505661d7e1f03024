"""Failure hints: pip and uv: packages that are not found, not built, or not installed together."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "externally-managed",
        r"externally-managed-environment|(?:environment|interpreter at /\S{1,200}) is externally managed",
        "pip may not install into the system's own Python",
        "use the environment that deploy makes (native_env), not the system's Python",
        "PEP 668",
        "error: externally-managed-environment",
    ),
    Hint(
        "package-not-found",
        r"No matching distribution found for(?! torch==[\w.]{1,20}\+cpu)|Could not find a version that satisfies the requirement"
        r"|was not found in the package registry|no versions? of (?!torch==[\w.]{1,20}\+cpu)[\w\[\].<>=+-]{1,100}(?:,| and| which)",
        "the package index has no such package or version for this Python and platform",
        "check the version's name, the Python that it supports and the index (pip index versions X); a mirror may be behind",
        "pip; uv",
        "ERROR: No matching distribution found for vllm==99.0.0",
    ),
    Hint(
        "wheel-python",
        r"Python ABI tag|no wheels with a matching Python (?:ABI|implementation)",
        "a package has no wheel for this version of Python: it is newer, or older, than those that the package was built for",
        "make the environment with a Python that it has wheels for (3.12; the message names the tag that is wanted, cp314 for 3.14), or ask for"
        " another release of it",
        "uv, platform tags; vllm-project/vllm#43435",
        "hint: You require CPython 3.14 (`cp314`), but we only found wheels for `acme` (v0.11.0) with the following Python ABI tag: `cp312`",
    ),
    Hint(
        "version-yanked",
        r"was yanked",
        "a package asks for a version that its authors took back from the index",
        "ask for a newer release of the package that wants it, or name that version itself (==), which the index still gives; or use an image",
        "uv; sgl-project/sglang#11628",
        "Because acme==4.57.0 was yanked and acme-engine==0.5.3 depends on acme==4.57.0, we can conclude that your requirements are unsatisfiable.",
        sure=False,
    ),
    Hint(
        "wheel-platform",
        r"is not a supported wheel on this platform|has no wheels with a matching platform"
        r"|no wheels? (?:for|with a) (?!matching Python)|doesn't have a source distribution or wheel for the current platform",
        "the wheel is for another Python, processor or C library than this host has",
        "take the wheel for this Python (cp312 for 3.12) and uname -m; a glibc older than its manylinux tag needs an image or an older"
        " release; an index that has none for this processor, another release",
        "pip; uv, platform tags",
        "ERROR: vllm-0.32.0-cp38-abi3-manylinux_2_35_x86_64.whl is not a supported wheel on this platform.",
    ),
    Hint(
        "python-version",
        r"requires a different Python|requires-python|^(?![^\n]{0,20}Ignored the following)[^\n]{0,600}Requires-Python"
        r"|current Python version \([\d.]{1,10}\) does not satisfy|No interpreter found for Python|Python>=?[\d.]{1,6} is required",
        "the package does not support this version of Python",
        "make the environment with a Python that it names (3.10 to 3.13 for current vLLM)",
        "pip; uv",
        "ERROR: Package 'vllm' requires a different Python: 3.8.10 not in '>=3.10,<3.14'",
    ),
    Hint(
        "requirements-conflict",
        r"ResolutionImpossible|because these package versions have conflicting dependencies"
        r"|^(?![^\n]{0,900}no versions? of)[^\n]{0,900}we can conclude that|(?:are|is) incompatible\b[^\n]{0,80}requirements are unsatisfiable",
        "the packages that are asked for can't be had together: two ask for different versions of a third, or one that they need is not on the index"
        " (any more) or not for this Python",
        "the message names them: where all ask for one package without a version, it is gone from the index (a newer vLLM does without); +cpu, +cu:"
        " torch's own index; else ask for versions of one release (torch is fixed by vLLM), or one in an environment of its own",
        "pip; uv",
        "Because acme==1 depends on numpy<2 and you require numpy>=2, we can conclude that your requirements are unsatisfiable.",
    ),
    Hint(
        "packages-in-conflict",
        r"source of the following dependency conflicts|requires [\w\[\].-]{1,60}[^\n]{0,60}, but you have [^\n]{1,80} which is incompatible\.",
        "pip installed a package in a version that another one in this environment does not want; it goes on after saying so",
        "the line names the two: install versions of one release (torch is fixed by vLLM), or give one of them an environment of its own",
        "pip",
        "acme 1.0 requires numpy<2, but you have numpy 2.1.0 which is incompatible.",
        general=True,
    ),
    Hint(
        "package-build-failed",
        r"Failed to (?:download and )?build [`'\"]?[\w-]{1,60}|Failed building wheel|Could not build wheels for|metadata-generation-failed"
        r"|subprocess-exited-with-error|Failed to build installable wheels|Failed building editable"
        r"|build backend returned an error",
        "pip or uv found no wheel for this host and could not build the package from source",
        "use a Python and a platform that have a wheel, or an image; to build, install compiler, headers and CUDA that the lines above miss",
        "pip; uv",
        "Failed to download and build `vllm==0.7.0`",
        sure=False,
        late=True,
    ),
    Hint(
        "package-names-another-version",
        r"does not match given version",
        "a package says another version of itself than the one that was asked for (a local tag such as +cu128, or a build from sources)",
        "ask for the version that the message names, or give the wheel's own file or URL",
        "uv",
        "error: Package metadata version `0.6.2+cu118` does not match given version `0.6.2`",
    ),
    Hint(
        "package-hash",
        r"DO NOT MATCH THE HASHES|[Hh]ash mismatch for",
        "a downloaded package is not the one that was asked for: cut, replaced, or from a mirror that differs",
        "download it again, without the cache (pip cache purge, uv cache clean), and check the mirror",
        "pip; uv",
        "error: Hash mismatch for `vllm==0.32.0`",
    ),
    Hint(
        "python-without-parts",
        r"No module named '?_(?:ctypes|ssl|lzma|bz2|sqlite3)\b|ssl module in Python is not available"
        r"|Can't connect to HTTPS URL because the SSL module is not available",
        "this Python was built without a part of its own library: the headers for it (libffi, OpenSSL, xz, bzip2, SQLite) were not"
        " there, or its libraries are gone",
        "use another Python (uv python install 3.12, or the distribution's), and make the environment anew; one that is built by hand"
        " needs libffi-dev, libssl-dev, liblzma-dev, libbz2-dev before",
        "CPython; pip",
        "ModuleNotFoundError: No module named '_ctypes'",
    ),
    Hint(
        "index-unreachable",
        r"Failed to (?:fetch|download)[:]? [`'\"]?https?://(?!\S{1,300}  )"
        r"|Could not fetch URL https?://\S{1,120}|(?:pypi\.org|pythonhosted\.org"
        r"|pypi\.tuna|mirrors\.\w{1,20})[^\n]{0,200}(?:timed out|Failed to establish|Connection|resolution|SSL)"
        r"|There was a problem confirming the ssl certificate",
        "the package index gave no answer, or refused: it can't be reached, or a proxy or mirror does not let this file through",
        "give the site's mirror (pip index-url, UV_INDEX_URL) or a proxy",
        "pip; uv",
        "error: Failed to fetch: `https://pypi.org/simple/vllm/`",
    ),
    Hint(
        "python-no-venv",
        r"ensurepip is not available|No module named '?(?:pip|venv|ensurepip)(?![\w.])",
        "this Python has no venv or pip: the system's was installed without these packages, or the environment was made without pip (uv)",
        "install python3-venv (or python3-pip) of that Python's version; in an environment of uv use uv pip",
        "Debian, python3-venv",
        "The virtual environment was not created successfully because ensurepip is not available.",
    ),
    Hint(
        "environment-broken",
        r"Failed to inspect Python interpreter from|No virtual environment found",
        "the environment's Python is gone or does not run: what it was made with was removed or upgraded, or the folder was moved",
        "remove the environment and run deploy.yml again: it makes it anew (uv venv by hand)",
        "uv",
        "Error: Failed to inspect Python interpreter from active virtual environment at `.venv/bin/python3`",
    ),
)
