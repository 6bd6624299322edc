"""Write a state dict file of each ready model, as PyTorch's users do, and the logits that belong to it.

    python scripts/fixtures_files.py tests/fixtures

files/{model}.safetensors   `safetensors.torch.save_model` of a model with
                            PyTorch's own initial weights, after two batches in
                            training; counters of batches are int64, and a tied
                            weight stands under one name. The larger models are
                            saved in half precision.
files.safetensors           {model}.logits in evaluation, of the saved weights;
                            the input is `fixtures_models.py`'s x0
"""

import sys
from pathlib import Path

import torch
from fixtures import canonicalize
from fixtures_models import MODELS, integers, values
from safetensors.torch import load_model, save_file, save_model

torch.set_num_threads(1)

HALF = {"lenet", "mobilenet", "resnet34"}


def main(folder):
    folder = Path(folder)
    (folder / "files").mkdir(parents=True, exist_ok=True)
    logits, total = {}, 0
    for name, (make, shape, _, _) in MODELS.items():
        torch.manual_seed(sum(map(ord, name)))
        model, path = make(), folder / "files" / f"{name}.safetensors"
        batch = lambda t: integers(f"x{t}", *shape) if isinstance(shape[0], tuple) else values(f"x{t}", shape)
        model.double().train()
        with torch.no_grad():
            for t in (1, 2):
                model(batch(t))
        save_model(model.half() if name in HALF else model.float(), str(path), {"format": "pt"})
        canonicalize(path)
        load_model(model := make().double().eval(), str(path))
        with torch.no_grad():
            logits[f"{name}.logits"] = model(batch(0)).float().contiguous()
        total += path.stat().st_size
    save_file(logits, folder / "files.safetensors", {"torch": torch.__version__.split("+")[0]})
    canonicalize(folder / "files.safetensors")
    print(f"{len(logits)} files of {total} bytes")


if __name__ == "__main__":
    main(sys.argv[1])
