"""Our AdamW takes the steps of torch's, and does not import torch's compiler."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from wg_common.nets.adamw import AdamW


@pytest.mark.parametrize("weight_decay", [0.0, 0.02])
def test_steps_are_torchs_to_the_last_bit(weight_decay: float) -> None:
    drawn = torch.Generator().manual_seed(1)
    mine = [torch.randn(size, generator=drawn, requires_grad=True) for size in ((7, 5), (5,), ())]
    theirs = [each.detach().clone().requires_grad_() for each in mine]
    ours = AdamW(mine, 0.1, weight_decay=weight_decay)
    known = torch.optim.AdamW(theirs, lr=0.1, weight_decay=weight_decay)
    for step in range(20):
        ours.rate = known.param_groups[0]["lr"] = 0.01 * (step + 1)
        for number, (a, b) in enumerate(zip(mine, theirs, strict=True)):
            missing = number == 1 and step % 3 == 0
            gradient = None if missing else torch.randn(a.shape, generator=drawn)
            a.grad, b.grad = gradient, gradient
        ours.step()
        known.step()
    for a, b in zip(mine, theirs, strict=True):
        assert torch.equal(a, b)
        assert {key: value.tolist() for key, value in ours.state[a].items()} == {
            key: value.tolist() for key, value in known.state[b].items()
        }
    ours.zero_grad()
    assert all(each.grad is None for each in mine)


def test_no_step_imports_torchs_compiler() -> None:
    words = (
        "import sys, torch; from wg_common.nets.adamw import AdamW;"
        "x = torch.ones(2, requires_grad=True); o = AdamW([x], 0.1); x.sum().backward(); o.step();"
        "print('torch._dynamo' in sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", words], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "False"
