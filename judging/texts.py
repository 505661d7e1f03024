"""Texts that any language model can be asked to go on with: English, Chinese, code, mathematics, and questions. No data set is needed.

A text is put together from a number and the sentences below by a seed. Seed 0 gives the fixed texts of packs; another seed gives texts that
stand in no pack, so that nobody can have learned the answers to them by heart.
"""

from __future__ import annotations

import random
from typing import Any

BYTES = 300  # of a text: a tokenizer without merges makes a token of each
COUNT, TOKENS, ANSWER = 48, 128, 64  # texts, tokens of each that are scored at most, tokens that are decoded after it
MOST = 1000  # texts of one seed

ENGLISH = (
    "The harbour master keeps a list of every ship that leaves before dawn.", "Rain fell on the roofs all night and stopped at six.",
    "A bridge is only as strong as the ground on both of its banks.", "She counted the lamps along the canal twice and got two numbers.",
    "Copper conducts heat better than iron, so the pot was lined with it.", "The train to the north was late because of ice on the points.",
    "Nobody remembered who had painted the door green.", "The museum lends its maps to anyone who signs for them.",
    "In spring the river carries more sand than water, farmers say.", "He repaired clocks for forty years and owned none.",
    "The committee met on Tuesday, argued until noon, and agreed on nothing.", "Wool shrinks in hot water because its scales lock together.",
    "Three roads meet at the mill, and only one of them is paved.", "The letter had been opened, read, and closed again with care.",
)  # fmt: skip
CHINESE = (
    "清晨的集市上，卖茶的老人把炉火烧得很旺。", "这座桥建于一百年前，至今仍在使用。", "春天到了，河水慢慢上涨，两岸的柳树都绿了。",
    "图书馆晚上九点关门，请提前归还书籍。", "他把地图摊在桌上，用铅笔画了一条线。", "工程师检查了每一台机器，然后写下报告。",
    "下雨的时候，屋檐下总有几只麻雀。", "会议讨论了三个问题，只有一个得到了解决。", "孩子们在院子里放风筝，笑声传得很远。",
    "铜的导热性比铁好，所以锅底常用铜来做。", "火车晚点了二十分钟，因为前方的信号出了故障。", "山里的夜很安静，只能听见溪水的声音。",
)  # fmt: skip
CODE = (
    "def mean(values):\n    return sum(values) / len(values)\n", "for i in range(10):\n    if i % 3 == 0:\n        print(i)\n",
    "class Stack:\n    def __init__(self):\n        self.items = []\n", "SELECT name, COUNT(*) FROM orders GROUP BY name;\n",
    "int main(void) {\n    printf(\"%d\\n\", 42);\n    return 0;\n}\n", "while read -r line; do\n  echo \"$line\"\ndone < input.txt\n",
    "const total = rows.reduce((a, b) => a + b, 0);\n", "try:\n    data = json.load(source)\nexcept ValueError:\n    data = {}\n",
    "func add(a, b int) int {\n\treturn a + b\n}\n", "{\"name\": \"demo\", \"port\": 8000, \"tags\": [\"a\", \"b\"]}\n",
)  # fmt: skip
MATHS = (
    "Let x + 7 = 19; then x = 12.", "The sum of the first n odd numbers is n^2.", "127 + 45 = 172, and 172 - 45 = 127.",
    "A triangle with sides 3, 4 and 5 has a right angle.", "If f(x) = x^2 then f'(x) = 2x.", "2^10 = 1024 and 3^5 = 243.",
    "The probability of two heads in two throws is 1/4.", "A prime greater than 3 leaves 1 or 5 when divided by 6.",
    "The area of a circle of radius r is pi r^2.", "log(ab) = log(a) + log(b) for positive a and b.", "0.125 is one eighth, or 12.5 %.",
    "Solve 3y = 24: y = 8.",
)  # fmt: skip
QUESTIONS = (
    "What is 127 + 45?", "Name three rivers in Europe.", "Explain in one sentence why the sky is blue.", "用一句话介绍一下北京。",
    "Write a function that reverses a string.", "How many minutes are there in a day?", "把“早上好”翻译成英文。", "What is the capital of France?",
)  # fmt: skip
KINDS = (("en", ENGLISH), ("zh", CHINESE), ("code", CODE), ("maths", MATHS))


def texts(seed: int, count: int = COUNT) -> list[dict[str, Any]]:
    """`count` items to record: {id, text or messages, tokens, limit}. No two begin alike, so that no cache of prefixes joins them."""
    if not 0 < count <= MOST:
        raise ValueError(f"{count} texts were asked for, and 1 to {MOST} are given")
    pick = random.Random(f"texts {seed}")  # noqa: S311 - no secret
    found: list[dict[str, Any]] = []
    begun: set[int] = set()
    while len(found) < count:
        number = pick.randrange(10_000)
        if len(found) % 6 == 5:
            text = f"{number}. {' '.join(pick.sample(QUESTIONS, 2))}"
            body: dict[str, Any] = {"messages": [{"role": "user", "content": text}]}
        else:
            kind, pool = KINDS[len(found) % len(KINDS)]
            text = joined([f"{number}.", *pick.sample(pool, len(pool))], "" if kind in ("zh", "code") else " ")
            body = {"text": text}
        if number in begun:
            continue
        begun.add(number)
        found.append({"id": f"{seed}-{len(found)}", "shown": text[:80], **body, "tokens": ANSWER, "limit": TOKENS})
    return found


def joined(sentences: list[str], between: str) -> str:
    """As many sentences as BYTES hold."""
    text = ""
    for sentence in sentences:
        longer = text + (between if text else "") + sentence
        if len(longer.encode()) > BYTES:
            break
        text = longer
    return text
