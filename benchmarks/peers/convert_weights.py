# Copyright 2025 Huawei Technologies Co., Ltd
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
# http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
# ============================================================================

"""
transform huggingface model to mindspore ckpt.
"""

import numpy as np
import argparse
import json
import os
from collections import defaultdict
from glob import glob
import warnings
import torch
from safetensors.torch import load_file

import mindspore as ms
from pathlib import Path

dtype_map = {"fp32": ms.float32, "bf16": ms.bfloat16, "fp16": ms.float16}


def process_file(my_path):
    target_dir = Path(my_path)
    path_list = []
    if target_dir.is_dir():
        for file_path in target_dir.iterdir():
            if file_path.is_file():
                path_list.append(str(file_path))
    elif target_dir.is_file():
        path_list.append(my_path)
    return path_list


def is_skip(file, path2):
    is_skip = False
    file_name = file.split("/")[-1]
    for name in path2:
        name = name.split("/")[-1]
        if name == file_name:
            print(name)
            is_skip = True
            break
    return is_skip


def convert_ms_to_gmm(input_path, output_path):
    """convert ms routing ffn weight for gmm."""
    ckpt_path1 = process_file(input_path)
    ckpt_path2 = process_file(output_path)
    print(ckpt_path1)
    print(ckpt_path2)
    for i in range(len(ckpt_path1)):
        if not ckpt_path1[i].endswith("safetensors") or is_skip(ckpt_path1[i], ckpt_path2):
            continue
        name = ckpt_path1[i]
        params = ms.load_checkpoint(name, format="safetensors")
        for k, v in params.items():
            if "norm" in k:
                print(k)
                orign_tensor = ms.Tensor(v.asnumpy(), dtype=ms.float16)
                params[k] = ms.Parameter(orign_tensor)
                print(params[k])
            elif v.dtype == ms.bfloat16:
                print(k)
                orign_tensor = ms.Tensor(v.asnumpy(), dtype=ms.float16)
                params[k] = ms.Parameter(orign_tensor)
                print(params[k])
        # name = os.path.realpath(name)
        path = name.split("/")[-1]
        save_path = os.path.join(output_path, path)
        ms.save_checkpoint(params, save_path, format="safetensors")
    print(f"\rConvertion finished, the mindspore ckpt is saved in '{output_path}'.", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--output_path", default=None, type=str)
    parser.add_argument("--input_path", default=None, type=str)

    args = parser.parse_args()

    convert_ms_to_gmm(input_path=args.input_path, output_path=args.output_path)
