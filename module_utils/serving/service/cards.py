"""A release card, as vendors publish one for a model on a board: what its commands, settings and tables say, as draft rows.

Nothing is guessed. Where a card says two things, the key is null and a question says both; what it says and no service of ours would do is a
finding, under the name of the plan's rule where there is one. Cards are Markdown or HTML, English or Chinese, and often no valid YAML.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any, Mapping

from ansible.module_utils.serving.service.card_text import (
    FENCE,
    LONG,
    asked_in,
    blocks_of,
    commands_of,
    files_in,
    flags_of,
    same,
    settings_in,
    tables_of,
    words_of,
    yaml_of,
)
from ansible.module_utils.serving.service.card_words import (
    ADAPTED,
    FETCHES,
    IMAGE,
    LICENCES,
    PAGES,
    PLACEHOLDER,
    REPO,
    RIGHTS,
    TAKES,
    VENDORS,
)
from ansible.module_utils.serving.weights.card import FRONT, SPELLINGS, front_matter

LIMIT = 4 << 20  # characters of a card
KEPT = ("model", "served_model_name", "port", "host")  # of engine_args: keys of the row, not options


@dataclasses.dataclass
class Draft:
    """What a card says: rows with null where it doesn't or contradicts itself."""

    title: str = ""
    model: dict[str, Any] = dataclasses.field(default_factory=dict)
    service: dict[str, Any] = dataclasses.field(default_factory=dict)
    reference: dict[str, Any] = dataclasses.field(default_factory=dict)
    questions: list[str] = dataclasses.field(default_factory=list)
    findings: list[dict[str, str]] = dataclasses.field(default_factory=list)

    def ask(self, text: str) -> None:
        if text not in self.questions:
            self.questions.append(text)

    def find(self, rule: str, text: str) -> None:
        row = {"rule": rule, "text": text}
        if row not in self.findings:
            self.findings.append(row)

    def one(self, what: str, values: list[Any]) -> Any:
        """The only value there is; null and a question where there are two, null and a question where there is none."""
        different = list(dict.fromkeys(map(str, values)))
        if len(different) == 1:
            return values[0]
        if different:
            self.ask(
                "%s: the card says %s; which is it?" % (what, " and ".join("'%s'" % value[:120] for value in different))
            )
        else:
            self.ask("%s: the card doesn't say" % what)
        return None


class Card:
    """Reads one card."""

    def __init__(self, text: str, name: str) -> None:
        self.text = text[:LIMIT]
        self.front, _ = front_matter(self.text)
        body = FRONT.sub("", self.text, count=1)
        heading = re.search(r"(?m)^#[ \t]+(\S*-FlagOS\S*|.*\d[BM]\b.*?)[ \t]*$", FENCE.sub("", body))
        self.draft = Draft(title="-".join(heading[1].split())[:96] if heading else name)
        said = re.search(r"(?m)^\s*(\S+-FlagOS\S*)\s+provides", body)
        if said and not heading:
            self.draft.title = said[1]
        self.blocks = blocks_of(body)
        self.files = [file for block in self.blocks for file in files_in(block)]
        self.lines = commands_of(self.blocks, body)
        self.body = body
        self.repo = ""
        self.mounts: list[str] = []
        self.images: list[str] = []

    def read(self) -> Draft:
        self.model()
        self.container()
        self.settings()
        self.environment()
        self.evaluation()
        self.licence()
        self.vendor()
        return self.draft

    def model(self) -> None:
        found: list[tuple[str, str]] = []
        joined = "\n".join(self.lines) + "\n"
        for hub, pattern in FETCHES:
            found += [(hub, match[1]) for match in pattern.finditer(joined) if "/FlagGems" not in match[1]]
        if not found:  # a page that it sends people to for the weights
            for line in re.findall(r"(?im)^.*(?:download|weights|下载|权重).*$", self.body):
                found += [(hub, match[1]) for hub, pattern in PAGES for match in pattern.finditer(line)]
        repos = list(dict.fromkeys(repo for _, repo in found))
        fits = [repo for repo in repos if same(repo, self.draft.title)]
        named = fits or repos
        if len(fits) == 1 and len(repos) > 1:
            self.draft.find(
                "other-model", "it fetches %s as well" % ", ".join(repo for repo in repos if repo not in fits)
            )
        self.repo = self.draft.one("model", named) or ""
        hubs = list(dict.fromkeys(hub for hub, repo in found if repo == self.repo))
        self.draft.model["sources"] = {hub: {"repo": self.repo, "revision": None} for hub in hubs if hub} or None
        if self.repo and not self.draft.model["sources"]:
            self.draft.ask("model: the card doesn't say from which hub '%s' comes" % self.repo)
        if self.repo:
            self.draft.find(
                "revision-not-pinned", "it names no revision of %s; add_model.yml pins the commit" % self.repo
            )
        if self.repo and not same(self.repo, self.draft.title):
            self.draft.ask(
                "model: the card is called '%s' and fetches '%s'; is it that model?" % (self.draft.title, self.repo)
            )

    def container(self) -> None:
        for line in self.lines:
            words = words_of(line)
            if words[:2] == ["docker", "pull"] and len(words) > 2:
                self.image(words[-1])
            if words[:2] == ["docker", "run"]:
                self.run(words[2:])
            if words[1:2] == ["pull"] and "--image" in words:
                after = [word for word in words[words.index("--image") + 1 :] if word not in ("docker", "pull")]
                self.image(after[0] if after else "")
        asked = any(text.startswith("image: ") for text in self.draft.questions)
        self.draft.service["image"] = self.draft.one("image", self.images) if self.images or not asked else None
        image = self.draft.service["image"]
        if image and "@sha256:" not in image:
            self.draft.find("tag-without-digest", "image %s has no digest" % image)
        tag = str(image or "").rpartition(":")[2]
        stem = re.sub(r"[^a-z]", "", self.repo.rpartition("/")[2].lower())[:4]
        if (
            image
            and self.repo
            and re.search(r"deepseek|qwen|qwq|robobrain|llama|glm|minicpm|gemma|ernie", tag)
            and stem[:3] not in tag.lower()
        ):
            self.draft.find(
                "image-of-another-model", "image %s is named after another model than %s" % (image, self.repo)
            )

    def image(self, text: str) -> None:
        if PLACEHOLDER.search(text):
            self.draft.ask("image: the card has the placeholder '%s'; which image is it?" % text[:120])
        elif IMAGE.fullmatch(text):
            self.images.append(text)

    def run(self, words: list[str]) -> None:
        """A `docker run`: its image, mounts and what it takes beyond."""
        at = 0
        while at < len(words):
            word = words[at]
            key, equal, value = word.partition("=")
            if re.fullmatch(r"\$\{?\w+\}?", word) and any(one.startswith("-") for one in words[at + 1 :]):
                self.draft.ask("options of docker run: '%s' is a variable that the card doesn't set" % word)
                at += 1
                continue
            if not word.startswith("-"):
                self.image(word)
                return
            if key in TAKES and not equal:
                at += 1
                value = words[at] if at < len(words) else ""
            key = {"--network": "--net", "--volume": "-v", "--env": "-e"}.get(key, key)
            if key == "-v" and ":" in value:
                self.mounts.append(value.split(":")[1])
            if key == "-e" and "=" in value:
                self.draft.service.setdefault("env", {})[value.partition("=")[0]] = value.partition("=")[2]
            if key == "--privileged" and value != "false":
                self.draft.find("rights-beyond-least", "--privileged gives it %s" % RIGHTS["--privileged"])
            elif "%s=%s" % (key, value) in RIGHTS:
                self.draft.find(
                    "rights-beyond-least", "%s=%s gives it %s" % (key, value, RIGHTS["%s=%s" % (key, value)])
                )
            if key == "--gpus" and re.search(VENDORS["arm"], self.draft.title, re.I):
                self.draft.find("gpu-flag-on-cpu", "--gpus %s on a host without a GPU: Docker refuses to start" % value)
            at += 1

    def settings(self) -> None:
        """Engine options of YAML and of command lines."""
        tables: list[dict[str, Any]] = []
        for block in self.files:
            if not re.search(r"(?m)^\s*(- )?(engine_args|serve_id|experiment|serve|defaults)\s*:", block):
                continue
            found, wrong = yaml_of(block)
            if wrong:
                self.draft.ask("settings: %s is no valid YAML; what is meant?" % wrong)
            defaults = found.get("defaults") if isinstance(found, Mapping) else None
            if isinstance(found, Mapping) and "defaults" in found and not isinstance(defaults, list):
                self.draft.find("invalid-yaml", "its `defaults` is no list: dashes are lost")
            tables += list(settings_in(found))
        for line in self.lines:
            words = words_of(line)
            if " ".join(words[:2]) == "vllm serve":
                named = {"model": words[2]} if len(words) > 2 and not words[2].startswith("-") else {}
                tables += [{**named, **row} for row in flags_of(words[2:])]
            elif any(word.endswith("api_server") for word in words):
                tables += flags_of(words)
        if len(tables) > 1 and self.repo:
            mine = [
                t
                for t in tables
                if same(str(t.get("model")), self.repo) or same(str(t.get("served_model_name")), self.repo)
            ]
            if 0 < len(mine) < len(tables):
                self.draft.find(
                    "other-model", "it has settings of another model as well; those of %s are taken" % self.repo
                )
                tables = mine
        tables = [{LONG.get(str(key), str(key)): value for key, value in table.items()} for table in tables]
        args: dict[str, Any] = {}
        for key in dict.fromkeys(key for table in tables for key in table):
            args[key] = self.draft.one("engine_args.%s" % key, [table[key] for table in tables if key in table])
        place = args.get("model")
        if (
            isinstance(place, str)
            and place.startswith("/")
            and self.mounts
            and not any(place.startswith(m.rstrip("/") + "/") for m in self.mounts)
        ):
            self.draft.find(
                "path-without-mount",
                "engine_args.model is %s, which is under none of its mounts (%s)" % (place, ", ".join(self.mounts)),
            )
        if args.get("trust_remote_code"):
            self.draft.find("trust-remote-code", "trust_remote_code is on; the row leaves it out")
        ports, names = asked_in(self.blocks)
        for key, row, asked in (("port", "port", ports), ("served_model_name", "served_name", names)):
            told = [args[key]] if args.get(key) is not None else []
            paths = [one for one in asked if str(one).startswith("/")]
            self.draft.service[row] = None
            if key in args and not told:
                continue  # asked already
            if paths and not told:
                self.draft.ask(
                    "%s: its example of a request asks for the path '%s'; what do callers ask for?" % (row, paths[0])
                )
            else:
                self.draft.service[row] = self.draft.one(row, [*told, *(one for one in asked if one not in paths)])
        self.draft.service["engine_args"] = {
            k: v for k, v in args.items() if k not in KEPT and k != "trust_remote_code"
        }
        if not tables:
            self.draft.ask(
                "engine_args: the card has no settings of the engine%s"
                % (", they lie in its image" if "flagscale serve" in self.body else "")
            )

    def environment(self) -> None:
        """Variables that it exports, and of its YAML; set twice in two ways is a question."""
        values: dict[str, list[str]] = {key: [str(value)] for key, value in self.draft.service.get("env", {}).items()}
        for line in self.lines:
            for match in re.finditer(r"(?:^|[;&]\s*|\s)export\s+([A-Za-z_]\w*)=(\"[^\"]*\"|'[^']*'|[^\s;&]*)", line):
                if not line.startswith("#"):
                    values.setdefault(match[1], []).append(match[2].strip("\"'"))
        for block in self.files:
            found, _ = yaml_of(block) if re.search(r"(?m)^\s*envs\s*:", block) else (None, None)
            experiment = found.get("experiment") if isinstance(found, Mapping) else None
            envs = experiment.get("envs") if isinstance(experiment, Mapping) else None
            for key, value in (envs or {}).items() if isinstance(envs, Mapping) else ():
                values.setdefault(str(key), []).append(str(value))
        gems = values.pop("USE_FLAGGEMS", [])
        self.draft.service["flaggems"] = bool(gems) and gems[-1] in ("1", "true", "True")
        self.draft.service["env"] = {
            key: self.draft.one("env.%s" % key, several) for key, several in sorted(values.items())
        }
        self.count_devices()
        for key, several in values.items():
            if any(PLACEHOLDER.search(value) and "$" not in value for value in several):
                self.draft.ask("env.%s: the card has the placeholder '%s'; what is it?" % (key, several[-1][:80]))
                self.draft.service["env"][key] = None
            named = {name for value in several for name in re.findall(r"\$\{?([\w.:]+)", value)}
            if named - set(values) or key in named:
                self.draft.ask("env.%s: '%s' uses a variable that the card doesn't set" % (key, several[-1][:80]))
                self.draft.service["env"][key] = None
            elif named and self.draft.service["env"][key]:  # of what the card sets itself
                self.draft.service["env"][key] = re.sub(
                    r"\$\{?([\w.:]+)\}?", lambda one: values[one[1]][-1], several[-1]
                )

    def count_devices(self) -> None:
        """Fewer devices than ranks can't both be meant."""
        args, env = self.draft.service["engine_args"], self.draft.service["env"]
        ranks = args.get("tensor_parallel_size")
        for name in [name for name in env if name.endswith("_VISIBLE_DEVICES") and env[name]]:
            count = len([one for one in str(env[name]).split(",") if one.strip()])
            if isinstance(ranks, int) and ranks > count:
                self.draft.ask(
                    "engine_args.tensor_parallel_size is %d, and env.%s names %d devices; how many does it take?"
                    % (ranks, name, count)
                )
                args["tensor_parallel_size"] = None

    def evaluation(self) -> None:
        """Its benchmark table: the column of CUDA is the reference, that of the new stack the vendor document's."""
        for rows in tables_of(self.body):
            head = [re.sub(r"[*_`\\]", "", cell) for cell in rows[0]] if rows else []
            if len(head) < 2 or not re.search(r"metric|benchmark|指标|评测|测试", head[0], re.I):
                continue
            cuda = [n for n, cell in enumerate(head) if n and re.search(r"cuda|origin|官方", cell, re.I)]
            new = [n for n, cell in enumerate(head) if n and n not in cuda]
            reference = cuda[0] if len(cuda) == 1 else None
            if len(new) != 1 or reference is None:
                self.draft.ask(
                    "evaluation: of the columns %s, which is the reference and which the new stack?"
                    % ", ".join(head[1:])
                )
                continue
            metrics = {}
            for row in rows[1:]:
                cells = [row[n] if n < len(row) else "" for n in (reference, new[0])]
                values = [float(match[0]) if (match := re.search(r"-?\d+(?:\.\d+)?", cell)) else None for cell in cells]
                if row[0] and any(value is not None for value in values):
                    metrics[re.sub(r"[*`\\]", "", row[0])] = {"reference": values[0], "document": values[1]}
            self.draft.reference = {"source": self.draft.title, "reference_stack": head[reference], "metrics": metrics}
            return

    def licence(self) -> None:
        """The licence that it states, and of which model."""
        stated = self.front.get("license")
        tail = "\n".join(
            match[0] for match in re.finditer(r"(?im)^.*(licen[sc]|open[- ]sourc|协议|许可|开源).*$", self.body)
        )
        names = [name for name, pattern in LICENCES if re.search(pattern, tail, re.I if name != "mit" else 0)]
        front = FRONT.match(self.text)
        twice = re.findall(r"(?m)^license:[ \t]*([^\s#]+)[ \t]*$", front[1]) if front else []
        for one in [stated, *(twice if len(twice) > 1 else [])]:  # of two such lines YAML takes the last without a word
            if isinstance(one, str) and one.strip():
                names.append(SPELLINGS.get(one.strip().lower(), one.strip().lower()))
        self.draft.model["license"] = self.draft.one("license", names)
        plain = re.sub(r"https?://\S+", "", tail)
        for match in re.finditer(r"(?<![A-Za-z0-9/._-])(%s)" % REPO, plain, re.A):
            if self.repo and re.search(r"\d", match[1]) and not same(match[1], self.repo):
                self.draft.ask(
                    "license: it is stated of '%s', and the card's model is '%s'; what is the model's own?"
                    % (match[1], self.repo)
                )
                self.draft.model["license"] = None

    def vendor(self) -> None:
        """Whose board it is for, by its title and by its text."""
        title = [vendor for vendor, pattern in VENDORS.items() if re.search(pattern, self.draft.title, re.I)]
        text = re.sub(r"(?m)^#.*$", "", self.body)[:3000]
        opening = ADAPTED.search(text) or re.search(r"(?im)^.*(?:execution of|release for|on)\b.*$", text)
        said = [vendor for vendor, pattern in VENDORS.items() if opening and re.search(pattern, opening[0], re.I)]
        adapted = bool(opening and ADAPTED.match(opening[0]))
        named = title or (said if adapted else [])
        if title and said and not set(title) & set(said):
            named = []
            self.draft.ask(
                "boards: the card is called '%s', and its text speaks of %s; for which board is it?"
                % (self.draft.title, ", ".join(said))
            )
        elif not named:
            self.draft.ask("boards: '%s' names none" % self.draft.title)
        self.draft.service["vendor"] = named[0] if len(named) == 1 else None


def read_card(text: str, name: str) -> Draft:
    """The draft of a card; `name`: what it is called where it has no title."""
    return Card(text, name).read()
