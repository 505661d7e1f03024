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
        "the package index has no such package or version for this Python and platform, can't be reached (pip: from versions: none), or (uv) an"
        " index before it has the name in other versions",
        "check the version's name, the Python that it supports and the index (pip index versions X); a mirror may be behind; look for failed"
        " connections above; uv with several indexes: --index-strategy unsafe-best-match",
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
        " (any more) or not for this Python; uv: the first index hides newer ones",
        "where all ask for one package without a version it is gone from the index (a newer vLLM does without); +cpu, +cu: torch's own index; uv and"
        " `only X is available`: --index-strategy unsafe-best-match; else versions of one release, or another environment",
        "pip; uv",
        "Because acme==1 depends on numpy<2 and you require numpy>=2, we can conclude that your requirements are unsatisfiable.",
    ),
    Hint(
        "plugin-torch-on-purpose",
        r"vllm [\w+.]{1,40} requires torch==",
        "pip noted that vLLM names another torch than is installed; a plugin such as vllm-ascend brings its own torch on purpose",
        "with a plugin's image or its own instructions leave it so: another torch would break torch-npu; without a plugin install the torch that"
        " this vLLM names",
        "vllm-project/vllm-ascend#8286",
        "vllm 0.18.0 requires torch==2.10.0, but you have torch 2.9.0 which is incompatible.",
        sure=False,
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
        "the environment's Python is gone or does not run (what it was made with was removed or upgraded, or the folder was moved), or uv was called"
        " with no environment active",
        "remove a broken environment and run deploy.yml again (uv venv by hand); by hand: activate it, or give uv --python PATH (in an image"
        " --system or UV_SYSTEM_PYTHON=1)",
        "uv",
        "Error: Failed to inspect Python interpreter from active virtual environment at `.venv/bin/python3`",
    ),
    Hint(
        "pip-hash-mode",
        r"In --require-hashes mode, all requirements must|Hashes are required in --require-hashes mode",
        "a list of packages is installed by their hashes, and some line of it has no hash or no exact version",
        "write the list with all that it draws in (uv pip compile --generate-hashes, pip-compile --generate-hashes), or leave hashes out for all of"
        " it",
        "pip",
        "ERROR: In --require-hashes mode, all requirements must have their versions pinned with ==.",
    ),
    Hint(
        "pip-requirement-text",
        r"Invalid requirement: |Could not open requirements file|is not a valid wheel filename|[Tt]he wheel filename \"[^\"\n]{1,160}\" is invalid"
        r"|Failed to parse: `",
        "what pip or uv was told to install is not written as they read it, or its file is not there",
        "correct the line that is named: name==version, a path or URL that ends in the wheel's own file name (do not rename wheels)",
        "pip; uv",
        "ERROR: Invalid requirement: 'acme=0.11'",
    ),
    Hint(
        "pip-cannot-uninstall",
        r"Cannot uninstall [^\n]{1,160}(?:distutils installed project|RECORD file not found|no RECORD file|installed by)",
        "a package that pip is to replace was installed by the system's own package manager, or its list of files is gone",
        "use an environment of its own (deploy.yml makes one: native_env) instead of the system's Python; a broken one there: pip install"
        " --ignore-installed NAME",
        "pip",
        "ERROR: Cannot uninstall 'PyYAML'. It is a distutils installed project and thus we cannot accurately determine which files belong to it",
    ),
    Hint(
        "pip-user-in-environment",
        r"Can not perform a '--user' install",
        "--user (or PIP_USER) is set, and within an environment there is no such place",
        "take --user, PIP_USER and user = true of pip.conf out",
        "pip",
        "ERROR: Can not perform a '--user' install. User site-packages are not visible in this virtualenv.",
    ),
    Hint(
        "pip-no-project",
        r"is not installable\. Neither 'setup\.py' nor 'pyproject\.toml' found|does not appear to be a Python project",
        "the folder that is to be installed holds no Python project",
        "give the folder with pyproject.toml in it (a checkout's top, not the one above), or the package's name",
        "pip; uv",
        "ERROR: Directory '.' is not installable. Neither 'setup.py' nor 'pyproject.toml' found.",
    ),
    Hint(
        "wheel-damaged",
        r"Wheel '[^'\n]{1,160}' located at \S{1,200} is invalid|has an invalid wheel|Failed to read metadata"
        r"|package for \S{1,80} located at \S{1,200} appears to be corrupted",
        "a package's file is damaged or cut, or no wheel at all (a page of a mirror or proxy under its name)",
        "remove it and the cache (pip cache purge, uv cache clean), fetch it again; file NAME.whl must say Zip archive",
        "pip; uv; conda",
        "ERROR: Wheel 'acme' located at /tmp/acme.whl is invalid.",
    ),
    Hint(
        "index-refuses",
        r"HTTP error (?:40[134]|429|5\d\d) while getting http|^(?:ERROR: )?(?:404|403"
        r"|401) Client Error: [^\n]{1,60} for url: https?://\S{1,160}/simple/",
        "the package index or mirror has no such file, or does not give it without a login",
        "look at that URL with curl: a mirror may lag behind or lack the package; give its login (PIP_INDEX_URL, netrc, UV_INDEX_URL), or another"
        " index",
        "pip",
        "ERROR: HTTP error 404 while getting https://index.lan/acme.whl",
        sure=False,
    ),
    Hint(
        "index-not-trusted",
        r"is not a trusted or secure host and is being ignored",
        "the mirror is given by http or with a certificate that is not known here, so pip leaves it out",
        "give it by https with its certificate authority (PIP_CERT), or name it: trusted-host in pip.conf",
        "pip",
        "WARNING: The repository located at index.lan is not a trusted or secure host and is being ignored.",
        passing=True,
    ),
    Hint(
        "index-proxy",
        r"after connection broken by 'ProxyError\(",
        "the proxy refuses the way to that server, or does not answer: it wants a login, forbids it, or is the wrong one",
        "correct http_proxy and https_proxy (http://USER:PASSWORD@HOST:PORT for the site's), name mirrors of your own in no_proxy",
        "pip, urllib3",
        "WARNING: Retrying (Retry(total=4)) after connection broken by 'ProxyError('Cannot connect to proxy.')'",
        sure=False,
        passing=True,
    ),
    Hint(
        "setuptools-missing",
        r"No module named '(?:distutils|setuptools|pkg_resources)'",
        "a package wants setuptools (with distutils, which Python 3.12 no longer has, and pkg_resources, which setuptools 82 no longer has)",
        "install setuptools<81 into the environment, or a newer release of the package that asks for it",
        "Python 3.12; setuptools",
        "ModuleNotFoundError: No module named 'distutils'",
    ),
    Hint(
        "pip-older-than-python",
        r"module 'pkgutil' has no attribute 'ImpImporter'|cannot import name 'html5lib' from 'pip\._vendor'",
        "pip or setuptools of this environment are older than its Python (3.12 took out what they use)",
        "make the environment anew with this Python (python -m venv --upgrade-deps), or python -m ensurepip --upgrade",
        "pip; setuptools",
        "AttributeError: module 'pkgutil' has no attribute 'ImpImporter'",
    ),
    Hint(
        "uv-cache-closed",
        r"Failed to initialize cache at|failed to create directory `[^`\n]{1,160}/(?:\.cache/)?uv`",
        "uv may not write its cache: the folder belongs to another user, or its file system is full or read-only",
        "chown it to this user, or name another by env UV_CACHE_DIR",
        "uv",
        "error: Failed to initialize cache at `/root/.cache/uv`",
        sure=False,
    ),
    Hint(
        "uv-environment-there",
        r"A virtual environment already exists at",
        "uv makes no environment over one that is there",
        "remove the folder, or give uv venv --clear (or --allow-existing)",
        "uv",
        "error: A virtual environment already exists at `/srv/env`. Use `--clear` to replace it",
    ),
    Hint(
        "uv-python-incompatible",
        r"requested interpreter resolved to Python [^\n]{1,80}incompatible",
        "the Python that uv was given is not one that the project is for",
        "uv python install 3.12 and name it (--python 3.12)",
        "uv",
        "error: The requested interpreter resolved to Python 3.9.18, which is incompatible with the project's Python requirement: `>=3.10`",
    ),
    Hint(
        "conda-none",
        r"PackagesNotFoundError|LibMambaUnsatisfiableError|UnsatisfiableError: The following|CondaHTTPError",
        "conda finds no such package, environment or set of versions in its channels, or does not reach them",
        "conda config --show channels; conda env list; vLLM is not kept in conda's channels: install it by pip or uv within the environment, or use"
        " an image",
        "conda",
        "PackagesNotFoundError: The following packages are not available from current channels",
        sure=False,
    ),
    Hint(
        "conda-not-started",
        r"Run 'conda init' before 'conda activate'",
        "the shell does not know conda activate: conda was not set up for it, as in a unit or a script",
        "call the environment's own program by its path (/opt/conda/envs/NAME/bin/vllm), or source conda.sh before",
        "conda",
        "CondaError: Run 'conda init' before 'conda activate'",
    ),
    Hint(
        "environment-not-one",
        r"is not a valid Python environment|Broken virtual environment|Querying Python at `[^`\n]{1,160}` failed",
        "the folder that is to be the environment is none, or is broken: its Python is gone, it was copied, or it was made by something else",
        "remove it and run deploy.yml again: it makes it anew",
        "uv",
        "error: Broken virtual environment `/srv/env`: `pyvenv.cfg` is missing",
    ),
    Hint(
        "uv-download-failed",
        r"Failed to download `[^`\n]{1,100}`|^(?:error: )?Request failed after \d{1,3} retries|[Ff]ailed to extract archive|Try increasing UV_HTTP_TIMEOUT",
        "uv could not fetch a package whole: the index or mirror is slow, far or gone, a proxy or firewall stands between, or it sent a damaged file",
        "set env UV_HTTP_TIMEOUT: 300 for large wheels (torch), UV_INDEX_URL for the site's mirror, and the proxy; then again; uv cache"
        " clean where the file stays damaged",
        "uv",
        "error: Failed to download `acme==2.9.0`: operation timed out",
        late=True,
        sure=False,
    ),
    Hint(
        "pip-no-room",
        r"Could not install packages due to an OSError: \[Errno 28\]",
        "the disk where pip unpacks or keeps packages is full; that is most often /tmp, not the one of the environment",
        "df -h /tmp ~/.cache and the environment's folder: make room, or set env TMPDIR and PIP_CACHE_DIR to a larger disk",
        "pip",
        "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
    ),
)
