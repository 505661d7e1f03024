"""Failure hints: model hubs (Hugging Face, ModelScope, git) and downloads from them."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "connect-without-address",
        r"(?:NewConnectionError|ConnectError|Cannot connect to host)[^\n]{0,200}Cannot assign requested address",
        "a connection got no address of this host: localhost means ::1 and IPv6 is off here (as in many containers), or all local ports are used up",
        "name 127.0.0.1 in place of localhost; ss -s shows ports in timewait: keep connections open, widen net.ipv4.ip_local_port_range",
        "UKGovernmentBEIS/inspect_ai#1799",
        "httpx.ConnectError: [Errno 99] Cannot assign requested address",
        sure=False,
    ),
    Hint(
        "cache-without-links",
        r"\[Errno (?:1|38|95)\] (?:Operation not \w{1,10}|Function not implemented): '[^'\n]{0,300}blobs/[^\n]{1,400}-> '",
        "the hub's cache lies on a file system without symbolic links (some SMB, FUSE and object storage)",
        "put the cache (HF_HOME) on a local disk, or mount that file system with links",
        "huggingface/huggingface_hub#2399",
        "OSError: [Errno 95] Operation not supported: '../../blobs/4f' -> '/srv/acme/hub/models--a--b/snapshots/9/config.json'",
    ),
    Hint(
        "hub-token-form",
        r"(?:[Ii]nvalid|[Ii]llegal) header value[^\n]{0,10}Bearer|in header value: ['\"]Bearer",
        "the hub's token is empty, or has a blank or a line break at its end",
        "write it anew without one (printf %s instead of echo), or take HF_TOKEN out of the environment where none is needed",
        "h2oai/h2o-llmstudio#1110; mave5/podalize#8",
        "httpx.LocalProtocolError: Illegal header value b'Bearer '",
    ),
    Hint(
        "hub-token-refused",
        r"the token seems invalid|Invalid user token|Invalid credentials in Authorization header"
        r"|(?<!authorization )(?<!bearer )[Tt]oken (?:\"[^\"\n]{1,60}\" )?(?:is|has) (?:expired|been revoked)",
        "the hub does not take the token: it is mistyped, was deleted or expired, or is of another hub",
        "make a new one on the hub's page of tokens (one that may read gated repositories), and set it where the fetch reads it"
        " (HF_TOKEN or the vault)",
        "huggingface/huggingface_hub#2507",
        "huggingface_hub.errors.BadRequestError: (Request ID: x) Bad request: Authorization header is correct, but the token seems invalid",
    ),
    Hint(
        "hub-name-invalid",
        r"Repo id must [^\n]{0,200}: '(?![/.~])[^'\n]{1,300}'",
        "neither is there a folder of that name here, nor can a hub have a model of it (OWNER/NAME: two parts of letters, digits, -, _ and .)",
        "correct the row's model: OWNER/NAME as the hub's page shows it, or the whole path of a folder; then deploy.yml --tags fetch,serve",
        "huggingface_hub, utils/_validators.py; Tencent-Hunyuan/HY-Motion-1.0#9",
        "HFValidationError: Repo id must be in the form 'repo_name' or 'namespace/repo_name': 'acme/x/y'. Use `repo_type` argument if needed.",
    ),
    Hint(
        "hub-path-as-name",
        r"failed to access model /|/api/v1/models//|/api/models//",
        "the engine asks the hub for a folder of this host: it finds no such folder, so it takes the path for the name of a model",
        "run deploy.yml --tags fetch,serve; in a container check the row's `mounts`; set no VLLM_USE_MODELSCOPE for a model that lies in a folder",
        "vllm-project/vllm#2329",
        "modelscope - ERROR - Authentication token does not exist, failed to access model /srv/x which may not exist or may be private.",
    ),
    Hint(
        "tls-broken-off",
        r"EOF occurred in violation of protocol|SSLEOFError|UNEXPECTED_EOF_WHILE_READING|(?i:wrong[ _]version[ _]number)|SSL_ERROR_SYSCALL"
        r"|(?i:alert[ _]handshake[ _]failure)|HandshakeFailure|gnutls_handshake\(\) failed|\[SSL: (?:HTTP_REQUEST|RECORD_LAYER_FAILURE"
        r"|DECRYPTION_FAILED_OR_BAD_RECORD_MAC|SHUTDOWN_WHILE_IN_INIT|TLSV1_ALERT_INTERNAL_ERROR|TLSV1_UNRECOGNIZED_NAME)\]",
        "an encrypted connection was broken off before it stood: a proxy, firewall or mirror between here and there does not take it, or"
        " speaks plain HTTP",
        "curl -v the address that the message names, from this host; correct https_proxy (http://HOST:PORT for most proxies), or take another address"
        " in `sources`",
        "huggingface/huggingface_hub#3533",
        "httpx.ConnectError: EOF occurred in violation of protocol (_ssl.c:997)",
        sure=False,
    ),
    Hint(
        "hub-client-closed",
        r"Cannot send a request, as the client has been closed",
        "the hub's client was used after its connection had been closed: an earlier error closed it, or two threads or releases of huggingface_hub"
        " share it",
        "the first error stands above; run deploy.yml --tags fetch once more, and take another release of huggingface_hub if it comes back",
        "microsoft/bioemu#193",
        "RuntimeError: Cannot send a request, as the client has been closed.",
        sure=False,
    ),
    Hint(
        "transfer-broken-off",
        r"peer closed connection without sending complete|RemoteProtocolError|\('Connection aborted\.', ?(?:ConnectionResetError"
        r"|RemoteDisconnected|OSError)|^http\.client\.(?:RemoteDisconnected|BadStatusLine)"
        r"|Connection broken: (?:IncompleteRead|ConnectionResetError|InvalidChunkLength)",
        "a transfer over HTTP broke off: the server, a proxy or the network between closed the connection",
        "run deploy.yml --tags fetch again: it goes on where it stopped; a proxy's limits of size and time, or another address in `sources`, if it"
        " comes back",
        "huggingface/huggingface_hub#4349, #2822",
        "httpx.RemoteProtocolError: peer closed connection without sending complete message body (received 7 bytes, expected 70)",
        sure=False,
    ),
    Hint(
        "transfer-timeout",
        r"^httpx\.(?:Read|Connect|Write|Pool)Timeout|^requests\.exceptions\.(?:Read|Connect)Timeout|ReadTimeoutError\(|Read timed out\.",
        "an answer over HTTP did not come in time: the hub, a mirror or a proxy is slow or gone, or a firewall drops what is sent to it",
        "curl -v the address that the message names; run deploy.yml --tags fetch again, with env HF_HUB_DOWNLOAD_TIMEOUT: 60 and HF_HUB_ETAG_TIMEOUT:"
        " 60 or another address in `sources`",
        "huggingface/huggingface_hub#4670",
        "httpx.ReadTimeout: The read operation timed out",
        sure=False,
    ),
    Hint(
        "hub-through-another",
        r"Distant resource does not (?:have a Content-Length|seem to be on)|FileMetadataError",
        "what answered is not the hub as its client knows it, for the answer lacks a file's commit or size: a mirror, a proxy or a"
        " firewall stands between",
        "try another address in `sources` (or HF_ENDPOINT), or the hub's own; let the proxy pass headers; curl -I of the file's address shows them",
        "huggingface/huggingface_hub#1670, #4637",
        "huggingface_hub.errors.FileMetadataError: Distant resource does not have a Content-Length.",
    ),
    Hint(
        "download-part-gone",
        r"No such file or directory: '[^'\n]{1,300}(?:\.incomplete'|/\._{3,8}temp/)",
        "a part of a download is gone: another download into the same folder ran at once, or something cleaned the folder",
        "run deploy.yml --tags fetch again, one at a time for a folder; where it stays, take another release of the client (modelscope,"
        " huggingface_hub)",
        "huggingface/huggingface_hub#2355; hiyouga/LlamaFactory#5065",
        "FileNotFoundError: [Errno 2] No such file or directory: '/srv/x/.cache/huggingface/download/acme.0f.incomplete'",
    ),
    Hint(
        "download-twice",
        r"FileExistsError[^\n]{0,200}(?:/blobs/|/snapshots/|\.incomplete|\.lock')",
        "a file of the hub's cache is there already where its client would make it: another process fetches into the same cache at once, or a fetch"
        " that broke off left it",
        "run deploy.yml --tags fetch again, one at a time for a folder; let the engine read a local folder instead of fetching in each worker",
        "huggingface/huggingface_hub#1108",
        "FileExistsError: [Errno 17] File exists: '../../blobs/1960' -> '/srv/hub/models--acme/snapshots/42f5/config.json'",
    ),
    Hint(
        "git-lfs-limit",
        r"batch response: [^\n]{0,200}(?:[Rr]ate limit|quota|LFS budget)|LFS: [^\n]{0,200}(?:HTTP 429|[Rr]ate limit|LFS budget)",
        "the storage behind the repository gives no more large files for now: too many were asked for at once, or the repository's own"
        " budget (LFS quota) is used up",
        "rate limit: wait, log in with a token, git lfs pull with fewer at once (git config lfs.concurrenttransfers 2); a budget only"
        " the owner can raise: fetch the same weights from a hub (weights_sources)",
        "git-lfs/git-lfs#3448",
        "batch response: This repository is over its data quota. Account responsible for LFS bandwidth should purchase more data packs.",
    ),
    Hint(
        "git-lfs-object",
        r"Smudge error|LFS: (?:Repository or object not found|Client error|Authorization error|Server error)"
        r"|batch response: (?![^\n]{0,200}(?:[Rr]ate limit|quota|LFS budget))",
        "git-lfs got a large file's content not from the storage behind the repository: it lacks the object, refuses who asks, or its address expired",
        "git lfs pull once more; fetch by the hub's own client instead (deploy.yml --tags fetch); a token where the repository is private",
        "git-lfs; OpenCSGs/csghub#824",
        "Error downloading object: x.safetensors (eaa086f): Smudge error: Error downloading x.safetensors: LFS: Repository or object not found",
        sure=False,
    ),
    Hint(
        "download-damaged",
        r"integrity check failed, expected sha256|FileIntegrityError",
        "a downloaded file is not what the hub has: the download was cut, or two downloads wrote it at once",
        "run deploy.yml --tags fetch again, one at a time for a folder; an engine that fetches by itself with several workers is best"
        " given a local folder",
        "vllm-project/vllm#13962",
        "FileIntegrityError: File /srv/x/model.safetensors integrity check failed, expected sha256 signature is 5, actual is 2",
    ),
    Hint(
        "git-repository",
        r"info/refs not valid: is this a git repository|fatal: repository '[^'\n]{1,300}' not found|fatal: could not read Username for 'https://",
        "git finds no repository at that address that it may read: the address is another's, the repository is private, or its name is not right",
        "copy the address from the model's page (ModelScope: https://www.modelscope.cn/OWNER/NAME.git); set a token for private ones",
        "git-clone",
        "fatal: https://acme.example/models/acme.git/info/refs not valid: is this a git repository?",
    ),
    Hint(
        "hub-not-found",
        r"(?<!Local)(?:Remote)?EntryNotFoundError|RevisionNotFoundError"
        r"|404 Client Error(?![^\n]{0,200}/models//)[^\n]{0,200}(?:huggingface|hf\.co|hf-mirror"
        r"|modelscope)|(?:model|repo)[^\n]{0,60}(?:does not exist|not exists?) on (?:modelscope|the hub)|not a valid git identifier"
        r"|hub\.errors\.NotExistError"
        r"|NotExistError: The file path",
        "the hub has no such file, branch or repository, or does not show it without a token",
        "check name and revision of the model on the hub's page; set a token where it is private or its licence was not accepted",
        "huggingface_hub, errors",
        "huggingface_hub.errors.RevisionNotFoundError: 404 Client Error. (Request ID: x)",
    ),
    Hint(
        "hub-range",
        r"416 Client Error|Requested Range Not Satisfiable",
        "half of a file is here from an earlier download, and the hub has no more bytes of it: that half is whole, or of another file",
        "remove *.incomplete (or .part) of that file, and run deploy.yml --tags fetch",
        "huggingface_hub#2197",
        "requests.exceptions.HTTPError: 416 Client Error: Range Not Satisfiable for url: https://files.example/x.safetensors",
        sure=False,
    ),
    Hint(
        "hub-limit",
        r"429 Client Error|(?<!\" 429 )Too Many Requests|rate limit(?:ed)?\b[^\n]{0,80}(?:hf|hugging|modelscope|hub)",
        "the hub (or the server that the message names) takes no more requests from this address for now",
        "give a token, fetch once and relay to the other hosts, or use a mirror",
        "huggingface_hub, rate limits",
        "requests.exceptions.HTTPError: 429 Client Error: Too Many Requests for url: https://files.example/x",
    ),
    Hint(
        "hub-server",
        r"50[0234] Server Error(?! for http\+docker)|modelscope\.hub\.errors\.RequestError|too many 5\d\d error responses"
        r"|HfHubHTTPError: 5\d\d|Bad Gateway|Service (?:Temporarily )?Unavailable for url",
        "the hub (or a mirror or proxy before it) fails",
        "wait, or fetch from another hub or mirror",
        "huggingface_hub",
        "requests.exceptions.HTTPError: 502 Server Error: Bad Gateway for url: https://files.example/x",
        sure=False,
    ),
    Hint(
        "xet-address-refused",
        r"Status\(403\)[^\n]{0,300}xethub|xethub[^\n]{0,300}Status\(403\)",
        "the hub's storage (xet) does not take the signed address of a part any more: it had expired in a slow download or by a wrong clock, or a proxy"
        " changed it",
        "check the host's clock (timedatectl), run deploy.yml --tags fetch again; set env HF_HUB_DISABLE_XET: 1 if it comes back",
        "huggingface/xet-core#238",
        'RuntimeError: Data processing error: ReqwestError(reqwest::Error { kind: Status(403), url: "https://transfer.xethub.hf.co/xorbs/x" })',
        sure=False,
    ),
    Hint(
        "xet-disk",
        r"Data processing error: [^\n]{0,200}\b(?:IO|I/O) [Ee]rror: (?:Timer expired|Input/output error|Stale|Resource temporarily|Bad file)",
        "the disk or network file system that the model or xet's parts are written to answers with errors",
        "dmesg shows the disk's; set HF_HOME and HF_XET_CACHE to a local disk, or do without xet (env HF_HUB_DISABLE_XET: 1)",
        "huggingface/xet-core#444",
        "RuntimeError: Data processing error: CAS service error : IO Error: Timer expired (os error 62)",
        sure=False,
    ),
    Hint(
        "xet-cache-closed",
        r"Data processing error: [^\n]{0,300}(?:Permission denied|Read-only file system)",
        "the hub's client for xet may not write where it keeps parts or the model (HF_HOME, else ~/.cache/huggingface, and the target folder)",
        "set HF_HOME and HF_XET_CACHE to a folder that this user may write, or correct owner and mode; env HF_HUB_DISABLE_XET: 1 does"
        " without its cache",
        "huggingface/xet-core#417",
        "RuntimeError: Data processing error: I/O error: Permission denied (os error 13)",
    ),
    Hint(
        "download-cut",
        r"Consistency check failed|IncompleteRead|ChunkedEncodingError|ContentDecodingError|[Ff]ile size[^\n]{0,60}(?:mismatch"
        r"|does not match)|hf_transfer[^\n]{0,80}(?:not available|[Ee]rror)"
        r"|^(?![^\n]{0,900}(?:[Cc]ertificate|UnknownIssuer|dns error|\(40[13] ))[^\n]{0,300}xet[^\n]{0,80}(?:[Ee]rror|[Ff]ail)"
        r"|^(?![^\n]{0,900}(?:[Cc]ertificate|UnknownIssuer|dns error|\(40[13] ))[^\n]{0,300}error[^\n]{0,300}https://[\w.-]{1,60}xethub"
        r"|Data processing error: (?:CAS|File reconstruction)(?![^\n]{0,900}(?:[Cc]ertificate|UnknownIssuer|dns error|\(40[13] ))|FileDownloadError"
        r"|download incomplete, content_length"
        r"|error sending request for url \(https://(?:[\w.-]{1,40}\.)?(?:huggingface\.co|hf-mirror\.com|modelscope\.cn)/",
        "a download from the hub broke off, or its accelerator (hf_transfer, xet) is missing or fails",
        "run deploy.yml --tags fetch again; set env HF_HUB_DISABLE_XET: 1 and HF_HUB_ENABLE_HF_TRANSFER: 0 if it comes back",
        "huggingface_hub, environment variables",
        "OSError: Consistency check failed: file should be of size 4976698672 but has size 10485760 (model-00001.safetensors).",
        sure=False,
    ),
    Hint(
        "hub-cache-damaged",
        r"CacheNotFound: |CorruptedCacheException: |SafetensorsParsingError: |NotASafetensorsRepoError: ",
        "the hub's cache on this host, or the repository, is not as the client knows it: files were removed or copied by hand, a download"
        " broke off, or the repository"
        " has no safetensors",
        "remove the model's folder below HF_HOME (hub/models--...) and fetch it again; deploy.yml --tags fetch keeps models apart from that cache",
        "huggingface_hub, errors",
        "huggingface_hub.errors.CacheNotFound: Cache directory not found: /srv/hub",
        sure=False,
    ),
    Hint(
        "hub-denied",
        r"gated repo|DisabledRepoError|LocalTokenNotFoundError|NotLoginException|40[13] Client Error.{0,200}(?:huggingface|hf\.co|hf-mirror"
        r"|modelscope)|Access to model \S{1,100} is restricted"
        r"|(?i:status(?: code)?:? ?\(?40[13])[^\n]{0,160}(?:huggingface\.co|(?<!xethub\.)hf\.co|modelscope)"
        r"|RepositoryNotFoundError|token does not exist, failed to access model(?! /)",
        "the hub does not give this repository: its name is wrong, its licence was not accepted, there is no token, or a mirror has not got it; or"
        " the token is expired or may not read gated repositories",
        "accept the licence on the hub's page and set a token that may read it (fine-grained: tick public gated repositories; type Read has it); a"
        " release reads its weights from the host, so check the row's model too",
        "sgl-project/sglang#14644; huggingface_hub",
        "OSError: You are trying to access a gated repo. Make sure to have access to it at https://huggingface.co/acme/x.",
    ),
    Hint(
        "hub-forbidden",
        r"HTTP status(?: client error)? \(?40[13] (?:Forbidden|Unauthorized)",
        "the hub, or a proxy or filter on the way to it, refuses this file: the token is missing, has expired or may not read it, or the"
        " filter blocks it",
        "curl -v the address that the message names, from this host, shows who refuses; accept the licence and set the token; upgrade hf-xet for xethub"
        " addresses (env HF_HUB_DISABLE_XET: 1 does without)",
        "thewh1teagle/vibe#1113; huggingface/xet-core#404",
        "Error: HTTP status client error (403 Forbidden) for url (https://huggingface.co/acme/x/resolve/main/x.bin)",
        sure=False,
    ),
    Hint(
        "hub-nothing-here",
        r"LocalEntryNotFoundError|find the requested files in the (?:cached path|disk cache|local cache)",
        "the files are not on this host, and the hub did not give them: it can't be reached, a proxy or a certificate is in the way, or it refused",
        "an error above this one says which (curl -v the hub's address shows it too); a release reads its weights from the host: run deploy.yml"
        " --tags fetch",
        "huggingface/huggingface_hub#3913",
        "huggingface_hub.errors.LocalEntryNotFoundError: An error happened while trying to locate the files on the Hub",
        sure=False,
    ),
    Hint(
        "hub-offline-mode",
        r"OfflineModeIsEnabled|offline mode is enabled",
        "the engine works without the hub (HF_HUB_OFFLINE), and something that it wants by its name there is not on this host: the model is named"
        " instead of its folder, or a part of it (tokenizer, code, draft model) is not in it",
        "give the folder of what deploy.yml fetched, for tokenizer and draft model too; the message names what is wanted; run deploy.yml --tags fetch",
        "huggingface_hub",
        "huggingface_hub.errors.OfflineModeIsEnabled: Cannot reach files.example",
    ),
    Hint(
        "hub-unreachable",
        r"couldn't connect to 'https?://|outgoing traffic has been disabled|Connection to (?:[\w.-]{1,60}\.)?(?:huggingface\.co|hf\.co"
        r"|hf-mirror\.com|modelscope\.cn) timed out|host=\\?'(?:[\w.-]{1,40}\.huggingface\.co|[\w.-]{0,40}hf\.co|huggingface\.co"
        r"|hf-mirror\.com|www\.modelscope\.cn|modelscope\.cn)(?![^\n]{0,300}(?:certificate verify failed|too many \d{3} error responses"
        r"|ProxyError|Cannot connect to proxy|Read timed out|SSLError))|Cannot (?:send a request(?!, as the client)|reach https)",
        "the engine wants something from the hub, and can't reach it",
        "a release reads its weights from the host: check what the message names, and run deploy.yml --tags fetch",
        "huggingface/transformers, utils/hub.py",
        "OSError: We couldn't connect to 'https://huggingface.co' to load the files, and couldn't find them in the cached files.",
    ),
    Hint(
        "xet-failed",
        r"Xet(?:Authorization|Download|Refresh\w{0,10})Error",
        "the download over Xet, by which the Hub gives large files, failed: its servers (cas-server.xethub.hf.co) are not reached through the proxy"
        " or firewall, the token has run out, or the disk is full",
        "HF_HUB_DISABLE_XET: 1 downloads the plain way; else allow *.xethub.hf.co; df -h of HF_HOME; or let the playbook fetch the model (--tags"
        " fetch)",
        "huggingface_hub, hf_xet",
        "huggingface_hub.errors.XetDownloadError: Failed to download",
        sure=False,
    ),
)
