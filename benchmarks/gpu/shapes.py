"""Folders of models without weights: the sizes of real ones, for engines that make random weights (`load_format: dummy`)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
SHAPES = {
    "7b": {
        "bytes": 15_231_233_024, "heads": 28, "kv": 4, "layers": 28, "hidden": 3584, "ffn": 18944, "vocab": 152064,
    },
    "32b": {
        "bytes": 65_527_752_704, "heads": 40, "kv": 8, "layers": 64, "hidden": 5120, "ffn": 27648, "vocab": 152064,
    },
    "vl": {
        "bytes": 66_900_000_000, "heads": 40, "kv": 8, "layers": 64, "hidden": 5120, "ffn": 27648, "vocab": 152064,
    },
}  # fmt: skip
# Qwen2.5-VL-32B-Instruct's config.json and preprocessor_config.json, by its authors.
VISION = {
    "depth": 32, "hidden_size": 1280, "intermediate_size": 3456, "num_heads": 16, "in_chans": 3, "out_hidden_size": 5120, "patch_size": 14,
    "spatial_merge_size": 2, "spatial_patch_size": 14, "window_size": 112, "fullatt_block_indexes": [7, 15, 23, 31], "tokens_per_second": 2,
    "temporal_patch_size": 2, "hidden_act": "silu", "model_type": "qwen2_5_vl",
}  # fmt: skip
MARKS = {"vision_start": 151652, "vision_end": 151653, "vision_pad": 151654, "image_pad": 151655, "video_pad": 151656}
PREPROCESSOR = {
    "min_pixels": 3136, "max_pixels": 12845056, "patch_size": 14, "temporal_patch_size": 2, "merge_size": 2,
    "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
    "image_processor_type": "Qwen2VLImageProcessor", "processor_class": "Qwen2_5_VLProcessor",
}  # fmt: skip
TEMPLATE = (
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' }}"
    "{%- if message.content is string %}{{- message.content }}{%- else %}{%- for part in message.content %}"
    "{%- if part.type == 'text' %}{{- part.text }}{%- else %}{{- '<|vision_start|><|image_pad|><|vision_end|>' }}{%- endif %}"
    "{%- endfor %}{%- endif %}{{- '<|im_end|>\\n' }}{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)


def row_of(name: str) -> dict[str, Any]:
    """The row of `models` for a shape, but for its source."""
    given = SHAPES[name]
    shape = {
        "layers": given["layers"], "kv_heads": given["kv"], "head_dim": 128, "attention_heads": given["heads"],
        "hidden_size": given["hidden"], "vocab_size": given["vocab"], "max_position_embeddings": 32768,
    }  # fmt: skip
    return {
        "bytes": given["bytes"],
        "license": "apache-2.0",
        "shape": shape,
        **({"vision": True} if name == "vl" else {}),
    }


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2))


def shape(name: str, folder: Path) -> Path:
    """A model folder without weights: config.json of that shape, the demo's tokenizer stretched to its vocabulary."""
    row = SHAPES[name]
    shutil.rmtree(folder, ignore_errors=True)
    unlike = shutil.ignore_patterns("*.safetensors*", "SHA256SUMS", "vocab.json", "merges.txt")
    shutil.copytree(ROOT / "models/demo", folder, ignore=unlike)
    config: dict[str, Any] = {
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "torch_dtype": "bfloat16", "hidden_size": row["hidden"],
        "intermediate_size": row["ffn"], "num_hidden_layers": row["layers"], "num_attention_heads": row["heads"],
        "num_key_value_heads": row["kv"], "vocab_size": row["vocab"], "max_position_embeddings": 32768, "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0, "tie_word_embeddings": False, "hidden_act": "silu", "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    known = set(tokenizer["model"]["vocab"].values()) | {token["id"] for token in tokenizer["added_tokens"]}
    if name == "vl":
        config.update(
            architectures=["Qwen2_5_VLForConditionalGeneration"],
            model_type="qwen2_5_vl",
            vision_config=VISION,
            rope_scaling={"type": "mrope", "mrope_section": [16, 24, 24]},
            vision_start_token_id=MARKS["vision_start"],
            vision_end_token_id=MARKS["vision_end"],
            vision_token_id=MARKS["vision_pad"],
            image_token_id=MARKS["image_pad"],
            video_token_id=MARKS["video_pad"],
        )
        marks = {f"<|{mark}|>": number for mark, number in MARKS.items()}
        like = tokenizer["added_tokens"][0]
        tokenizer["added_tokens"] += [{**like, "id": number, "content": mark} for mark, number in marks.items()]
        known |= set(marks.values())
        settings = json.loads((folder / "tokenizer_config.json").read_text())
        settings["added_tokens_decoder"].update(
            {
                str(number): {**settings["added_tokens_decoder"]["403"], "content": mark}
                for mark, number in marks.items()
            }
        )
        settings["chat_template"] = TEMPLATE
        _write(folder / "tokenizer_config.json", settings)
        _write(folder / "preprocessor_config.json", PREPROCESSOR)
    tokenizer["model"]["vocab"].update({f"w{i}": i for i in range(row["vocab"]) if i not in known})
    _write(folder / "config.json", config)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    return folder
