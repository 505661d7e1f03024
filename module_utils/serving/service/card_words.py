"""Words by which a release card is read: how it names models and images, fetches and runs them, and what vendors and licences are called."""

from __future__ import annotations

import re

REPO = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"
IMAGE = re.compile(
    r"[a-z0-9][\w.-]*(?::\d+)?(?:/[\w.-]+)+(?::[\w.-]+)?(?:@sha256:[0-9a-f]{64})?|[a-z0-9][\w.-]*:[\w.-]+"
)
PLACEHOLDER = re.compile(r"<[^>]*>|\bxxx+\b|\$\{?\w|\bTODO\b|\bTBD\b|your[-_ ]|\.\.\.|【|待", re.I)
# Commands that fetch a model, with the hub that they ask; FlagScale's own names none unless it is given an address.
FETCHES = (
    (
        "modelscope",
        re.compile(
            r"flagscale\s+pull\s[^\n]*--ckpt[ =]https?://(?:www\.)?modelscope\.cn/(?:models/)?(%s?)(?:\.git)?[\"'\s]"
            % REPO
        ),
    ),
    (
        "huggingface",
        re.compile(
            r"flagscale\s+pull\s[^\n]*--ckpt[ =]https?://(?:huggingface\.co|hf-mirror\.com)/(%s?)(?:\.git)?[\"'\s]"
            % REPO
        ),
    ),
    ("", re.compile(r"flagscale\s+pull\s[^\n]*--ckpt[ =](%s)\s" % REPO)),
    ("modelscope", re.compile(r"modelscope\s+download\s+(?:--model\s+|-m\s+)?[\"']?(%s)" % REPO)),
    ("huggingface", re.compile(r"(?:huggingface-cli|hf)\s+download\s+[\"']?(%s)" % REPO)),
    (
        "modelscope",
        re.compile(
            r"git\s+(?:lfs\s+)?clone\s+https?://(?:www\.)?modelscope\.cn/(?:models/)?(%s?)(?:\.git)?[\"'\s]" % REPO
        ),
    ),
    (
        "huggingface",
        re.compile(
            r"git\s+(?:lfs\s+)?clone\s+https?://(?:huggingface\.co|hf-mirror\.com)/(%s?)(?:\.git)?[\"'\s]" % REPO
        ),
    ),
    ("modelscope", re.compile(r"snapshot_download\(\s*(?:model_id\s*=\s*)?[\"'](%s)[\"']" % REPO)),
)
PAGES = (
    (
        "huggingface",
        re.compile(r"https?://(?:huggingface\.co|hf-mirror\.com)/(?!datasets/|spaces/)(%s)(?=[/)\s\]]|$)" % REPO),
    ),
    ("modelscope", re.compile(r"https?://(?:www\.)?modelscope\.cn/models/(%s)(?=[/)\s\]]|$)" % REPO)),
)
# Options of `docker run` that take a word.
TAKES = (
    "-v", "--volume", "--mount", "-e", "--env", "--name", "--net", "--network", "--ipc", "--uts", "--shm-size", "--gpus", "--device", "--ulimit",
    "--security-opt", "-p", "--publish", "-w", "--workdir", "-u", "--user", "--entrypoint", "--hostname", "-h", "--runtime", "--cap-add", "--env-file",
    "--cpuset-cpus", "--memory", "-m", "--restart", "--pid", "--group-add", "--label", "-l", "--platform", "--log-opt", "--log-driver",
)  # fmt: skip
RIGHTS = {"--privileged": "every disk and device of the host", "--net=host": "the host's network", "--ipc=host": "the host's shared memory",
          "--uts=host": "the host's name", "--security-opt=seccomp=unconfined": "every system call", "--pid=host": "the host's processes"}  # fmt: skip
VENDORS = {
    "nvidia": r"nvidia|h100|h200|a100|cuda", "arm": r"(?<![a-z])arm(?![a-z])|graviton|aarch64", "ascend": r"ascend|atlas|昇腾", "metax": r"metax|沐曦",
    "mthreads": r"moore ?threads|mthreads|摩尔线程", "iluvatar": r"iluvatar|天数", "cambricon": r"cambricon|寒武纪", "hygon": r"hygon|海光",
    "kunlunxin": r"kunlun|昆仑",
}  # fmt: skip
LICENCES = (
    ("apache-2.0", r"apache[ -]?(?:license)?,?[ -]*(?:version )?2(?:\.0)?"),
    ("mit", r"(?<![A-Za-z])MIT(?![A-Za-z])(?: License)?"),  # no word's end: Chinese has no blanks
    ("bsd-3-clause", r"(?<![A-Za-z])BSD(?![A-Za-z])"),
)
# The sentence by which a card says for whose board it was made.
ADAPTED = re.compile(r"adapted for (?:the )?\w+(?: \w+)?|适配(?:于|到|了)?[^\uff0c\u3002\n]{0,40}", re.I)
