"""The digits in PyTorch, on the GPU that the task was given: ``python -m
fluxhive.examples.digits_torch``.

``--hold-gpu-mib`` and ``--seconds`` make it a task of a known size and length, to look at sharing,
readings and cancelling with.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

from .digits_data import CLASSES, PIXELS, load

if TYPE_CHECKING:
    torch: Any
else:
    try:
        import torch
    except ImportError:
        torch = None


def main() -> int:
    """Trains, prints each epoch, and says whether it learned; the exit code says so too."""
    options = _options()
    if torch is None:
        print(
            "PyTorch is not installed for this interpreter\n\n"
            "hint: pip install torch, or run fluxhive.examples.digits, which needs nothing",
            file=sys.stderr,
        )
        return 1
    torch.manual_seed(options.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"PyTorch {torch.__version__} on {name}", flush=True)
    held = _hold(options.hold_gpu_mib, device)
    accuracy = _train(options, device)
    if held is not None:
        print(f"held {held.numel() >> 20} MiB", flush=True)
    if accuracy < options.min_accuracy:
        wanted = f"{options.min_accuracy:.1%}"
        print(f"it did not learn enough: {accuracy:.1%}, {wanted} wanted", file=sys.stderr)
        return 1
    print(f"learned: {accuracy:.1%} of the digits that it had never seen", flush=True)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="digits_torch", description="Learn to read digits.")
    parser.add_argument("--epochs", type=int, default=20, metavar="N")
    parser.add_argument("--seconds", type=float, help="go on for so long, whatever the epochs")
    parser.add_argument("--batch", type=int, default=32, metavar="N")
    parser.add_argument("--width", type=int, default=64, help="channels of the convolutions")
    parser.add_argument("--hold-gpu-mib", type=int, default=0, metavar="N", help="allocate this")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--min-accuracy", type=float, default=0.93, help="fail below this")
    return parser.parse_args()


def _hold(mib: int, device: Any) -> Any:
    """A tensor of that size, written to, so that it is really there; None when none is wanted."""
    if not mib:
        return None
    return torch.ones(mib << 20, dtype=torch.uint8, device=device)


def _tensors(images: list[Any], device: Any) -> tuple[Any, Any]:
    side = int(PIXELS**0.5)
    pixels = torch.tensor([image.pixels for image in images], device=device)
    return pixels.view(-1, 1, side, side), torch.tensor([i.digit for i in images], device=device)


def _network(width: int) -> Any:
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(width * PIXELS // 4, CLASSES),
    )


def _train(options: argparse.Namespace, device: Any) -> float:
    train, held_out = load(options.seed)
    inputs, digits = _tensors(train, device)
    test_inputs, test_digits = _tensors(held_out, device)
    network = _network(options.width).to(device)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    measure = torch.nn.CrossEntropyLoss()
    started, epoch, accuracy = time.monotonic(), 0, 0.0
    while _goes_on(options, epoch, time.monotonic() - started):
        epoch += 1
        total = 0.0
        for chosen in torch.randperm(len(inputs), device=device).split(options.batch):
            optimiser.zero_grad()
            loss = measure(network(inputs[chosen]), digits[chosen])
            loss.backward()
            optimiser.step()
            total += loss.item() * len(chosen)
        with torch.no_grad():
            right = network(test_inputs).argmax(1) == test_digits
            accuracy = right.float().mean().item()
        line = f"epoch {epoch:3}  loss {total / len(inputs):.4f}  accuracy {accuracy:.1%}"
        if device.type == "cuda":
            line += f"  allocated {torch.cuda.memory_allocated() >> 20} MiB"
        print(f"{line}  {time.monotonic() - started:5.1f} s", flush=True)
    return accuracy


def _goes_on(options: argparse.Namespace, epoch: int, elapsed_s: float) -> bool:
    if options.seconds is not None:
        return epoch == 0 or elapsed_s < float(options.seconds)
    return epoch < int(options.epochs)


if __name__ == "__main__":
    sys.exit(main())
