"""Train the weights of digits_cnn.dlir: a small convolutional net for 8x8 hand-written digits, with torch on the CPU.

    python examples/train_digits_cnn.py        (half a minute on two cores)

Writes, beside this file,
  digits_cnn.safetensors       conv weights [out, in / groups, 3, 3] and biases, batch norm gamma, beta, mean, var [16],
                               dense weight [128, 10] and bias [10], all float32
  digits_cnn_test.safetensors  x [448, 1, 8, 8] float32, labels [448] int64, expected [448] int64

`expected` is what torch itself predicts for `x`. The 448 images (7 batches of 64) are held out of training.
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

HERE = Path(__file__).resolve().parent
SEED = 7
HELD_OUT = 448
EPOCHS = 30
BATCH = 64


class DigitsNet(nn.Module):
    """[n, 1, 8, 8] -> logits [n, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(16, eps=1e-5)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.conv3 = nn.Conv2d(32, 32, 3, padding=1, groups=4)
        self.dense = nn.Linear(128, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.conv1(x)))
        x = nn.functional.max_pool2d(torch.relu(self.conv2(x)), 2)
        x = nn.functional.max_pool2d(torch.relu(self.conv3(x)), 2)
        return self.dense(x.flatten(1))


def train(x: torch.Tensor, labels: torch.Tensor) -> DigitsNet:
    """Fit the net to `x` [n, 1, 8, 8] with Adam and a falling learning rate."""
    torch.manual_seed(SEED)
    net = DigitsNet()
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[chosen]), labels[chosen]).backward()
            optimizer.step()
        schedule.step()
    return net.eval()


def weights_of(net: DigitsNet) -> dict[str, np.ndarray]:
    """The trained arrays under the names that digits_cnn.dlir uses."""
    tensors = {
        "conv1_w": net.conv1.weight,
        "conv1_b": net.conv1.bias,
        "norm_gamma": net.norm.weight,
        "norm_beta": net.norm.bias,
        "norm_mean": net.norm.running_mean,
        "norm_var": net.norm.running_var,
        "conv2_w": net.conv2.weight,
        "conv2_b": net.conv2.bias,
        "conv3_w": net.conv3.weight,
        "conv3_b": net.conv3.bias,
        "dense_w": net.dense.weight.T,  # torch stores [out, in]
        "dense_b": net.dense.bias,
    }
    return {name: np.ascontiguousarray(tensor.detach().numpy()) for name, tensor in tensors.items()}


def predict(net: DigitsNet, x: torch.Tensor) -> tuple[np.ndarray, float]:
    """The predicted classes [n], and the smallest margin between the two best logits of an image."""
    with torch.no_grad():
        logits = torch.cat([net(batch) for batch in x.split(BATCH)])
    best = logits.topk(2, dim=1).values
    return logits.argmax(dim=1).numpy(), float((best[:, 0] - best[:, 1]).min())


def main() -> None:
    """Train and write both files."""
    images, labels = load_digits(return_X_y=True)
    x = (images / 16.0).astype(np.float32).reshape(-1, 1, 8, 8)
    x_train, x_test, labels_train, labels_test = train_test_split(
        x, labels.astype(np.int64), test_size=HELD_OUT, random_state=SEED, stratify=labels
    )
    net = train(torch.from_numpy(x_train), torch.from_numpy(labels_train))
    expected, margin = predict(net, torch.from_numpy(x_test))
    print(f"accuracy on {HELD_OUT} held-out images: {np.mean(expected == labels_test):.4f}")
    print(f"smallest margin between the two best logits: {margin:.4f}")

    save_file(weights_of(net), HERE / "digits_cnn.safetensors")
    data = {"x": x_test, "labels": labels_test, "expected": expected}
    save_file({name: np.ascontiguousarray(array) for name, array in data.items()}, HERE / "digits_cnn_test.safetensors")


if __name__ == "__main__":
    main()
