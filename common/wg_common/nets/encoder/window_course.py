"""The course of a window: what each channel does when, in its own units.

The shared encoder says how often and how strongly something happens in a window, and hardly when.
What happens at which hour of a day, or at which part of a press's stroke, is told by the means of
each channel in 16 parts of the window. They have no scale in common, and another plant's windows
begin elsewhere, so that nothing of them is released: a plant adds them as a local encoder.

Nothing here is random or learnt.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from wg_common.modalities.base import Record
from wg_common.nets.encoder import window_trunk
from wg_common.nets.encoder.local_encoder import LocalEncoder
from wg_core.site.encoder_names import STEPS, course_name


class WindowCourse(LocalEncoder):
    """Views ``[n, C, 1 + S, L]`` of ``window_trunk.prepare`` to means ``[n, 16 * channels]``.

    Args:
        channels: Of the plant's windows. Of a window with more the first ones count; of one with
            fewer the rest is zero.
    """

    exports = True
    activations = 0.0

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.name = course_name(channels)
        self.channels = channels
        self.width = STEPS * channels
        self.shape = channels, window_trunk.LENGTH

    def prepare(self, records: Sequence[Record]) -> Tensor:
        """The views of one window."""
        return window_trunk.prepare(records[0])

    def forward(self, batch: Tensor) -> Tensor:
        """Means of each channel in the parts of the whole window, channel by channel."""
        course = F.adaptive_avg_pool1d(batch[:, : self.channels, 0], STEPS).flatten(1)
        return F.pad(course, (0, self.width - course.shape[1]))
