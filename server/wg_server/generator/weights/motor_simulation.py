"""Simulation of induction motors: data sheets, hidden properties, and currents.

The current of one phase is the supply's line, modulated. Each modulation is a pair of side bands,
with levels in dB relative to the supply's line. Broken rotor bars: ``(1 ± 2ks) f``, −50 to −34 dB
at full load and less at a lower one, the upper band weakened by inertia; a healthy rotor is below
−55 dB (Thomson and Fenger, 2001). Static and dynamic eccentricity together: ``f ± k f_r`` (Nandi,
Toliyat and Li, 2005). Shorted turns of the stator: the third harmonic and ``f (n (1 - s) / p ± 1)``
(Benbouzid, 2000; Thomson and Fenger, 2001). Healthy motors show each of these at a lower level: no
rotor is perfectly round, and supplies have harmonics. Driven equipment, such as belts, pumps and
mills, modulates the current at rates of its own, runs in some windows and idles in others, and
resembles a broken bar if the slip is unknown (Schoen and Habetler, *Effects of time-varying loads
on rotor fault detection in induction machines*, IEEE Transactions on Industry Applications 31,
1995). The currents also contain drift, the harmonics of the supply, and noise. The other papers are
listed in ``wg_common.machines.motor``.

Not simulated: converters, starts and changing speed, damaged bearings, principal slot harmonics
(above half the sampling rate here), and several faults.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from wg_common.machines import motor
from wg_common.machines.base import WINDOW_SAMPLES, MachineKind
from wg_server.generator.weights.random_draws import RandomDraws, amplitude_from_db

_SLIP_ORDERS, _SHAFT_ORDERS, _LOADS, _HARMONICS = 3, 2, 4, 2
_MODULATION_COUNT = _SLIP_ORDERS + _SHAFT_ORDERS + _LOADS
_SUPPLY_PERIOD_RANGE = (50.0, 150.0)  # Supply periods per window
_MIN_SLIP_PERIODS = 2.5  # Smallest number of periods of twice the slip frequency per window
_FAULT_SPREAD, _SUPPLY_SPREAD, _DRIVEN_SPREAD = 2.0, 2.0, 5.0  # Deviation between windows, dB
_DRIVEN_WANDER = 0.04  # Relative variation of driven equipment's rate between windows


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedMotors:
    """Batch of m simulated motors.

    Attributes:
        figures: Declared figures, ``[m, 5]``: supply frequency (Hz), sampling rate (Hz), pole
            pairs, slip, load.
        hidden_figures: Hidden properties, scaled to order 1, ``[m, hidden_figure_count]``.
        supply_periods: True periods of the supply per window, ``[m]``.
        modulation_rates: Rate of each modulation in cycles per window, ``[m, _MODULATION_COUNT]``.
        lower_band_amplitudes: Amplitude of each lower side band in each condition, ``[m, K,
            _MODULATION_COUNT]``.
        upper_band_ratios: Amplitude of each upper side band relative to the lower one, ``[m,
            _MODULATION_COUNT]``.
        third_harmonic_amplitudes: Amplitude of the supply's third harmonic in each condition, ``[m,
            K]``.
        higher_harmonic_amplitudes: Amplitudes of the supply's fifth and seventh harmonics, ``[m,
            2]``.
        drift_deviation: Standard deviation of the slow drift of the amplitude, ``[m]``.
        noise_deviation: Standard deviation of the noise, ``[m]``. This and all amplitudes are
            relative to the amplitude of the supply's line.
    """

    figures: Tensor
    hidden_figures: Tensor
    supply_periods: Tensor
    modulation_rates: Tensor
    lower_band_amplitudes: Tensor
    upper_band_ratios: Tensor
    third_harmonic_amplitudes: Tensor
    higher_harmonic_amplitudes: Tensor
    drift_deviation: Tensor
    noise_deviation: Tensor

    def __len__(self) -> int:
        return len(self.figures)


class MotorSimulator:
    """Simulator of motors and their currents; all randomness comes from one seed."""

    kind: MachineKind = motor.MACHINE_KIND
    hidden_figure_count = 23

    def __init__(self, seed: int) -> None:
        self._draw = RandomDraws(seed)

    def _draw_figures(self, count: int) -> Tensor:
        """Draw figures ``[count, 5]`` of motors with up to twelve poles and a measurable slip."""
        draw = self._draw
        supply = draw.choose((50.0, 60.0), count)
        pairs = draw.choose((1.0, 2.0, 2.0, 3.0, 4.0, 5.0, 6.0), count)
        load = draw.uniform(0.3, 1.1, count)
        # Rated slips are 1 to 6 %, and grow with the load.
        slip = draw.log_uniform(0.01, 0.06, count) * load
        low, high = _SUPPLY_PERIOD_RANGE
        slip = slip.clamp(min=_MIN_SLIP_PERIODS / 2 / high)
        least = (_MIN_SLIP_PERIODS / 2 / slip).clamp(min=low).log()
        periods = (least + (math.log(high) - least) * draw.uniform(0, 1, count)).exp()
        rate = supply * WINDOW_SAMPLES / periods
        # An undeclared load is replaced by three quarters.
        load = torch.where(draw.uniform(0, 1, count) < 0.7, load, motor.USUAL_LOAD)
        return torch.stack([supply, rate, pairs, slip, load], dim=1)

    def draw_machines(self, count: int) -> SimulatedMotors:
        """Draw ``count`` new motors."""
        draw, figures = self._draw, self._draw_figures(count)
        lines = motor.line_frequencies(figures) * (1 + 0.0005 * draw.normal(count, 1))
        supply, shaft, pole_slip = lines.unbind(dim=1)
        pole_slip = pole_slip * (1 + 0.05 * draw.normal(count))  # Tachometer error of a turn or two
        drives = shaft[:, None] * draw.log_uniform(0.06, 2.5, count, _LOADS)
        slips = pole_slip[:, None] * torch.arange(1, _SLIP_ORDERS + 1)
        turns = shaft[:, None] * torch.arange(1, _SHAFT_ORDERS + 1)
        levels = self._draw_levels_db(figures[:, 4])
        orders = [-draw.uniform(8, 20, count, n - 1) for n in (_SLIP_ORDERS, _SHAFT_ORDERS)]
        steps = [torch.cat([torch.zeros(count, 1), fall.cumsum(dim=1)], dim=1) for fall in orders]
        bar, eccentric, stator = levels["bar"], levels["eccentric"], levels["shorted"]
        slip_levels = torch.stack([bar[:, 0], bar[:, 1], bar[:, 0], bar[:, 0]], dim=1)
        shaft_levels = torch.stack(
            [eccentric[:, 0], eccentric[:, 0], eccentric[:, 1], eccentric[:, 0]], dim=1
        )
        shaft_levels[:, 3] = torch.maximum(shaft_levels[:, 3], levels["short beside"])
        load_levels = levels["load"][:, None].expand(-1, 4, -1)
        lower = [
            slip_levels[..., None] + steps[0][:, None],
            shaft_levels[..., None] + steps[1][:, None],
        ]
        upper = -draw.uniform(0, 12, count, _MODULATION_COUNT)
        return SimulatedMotors(
            figures=figures,
            hidden_figures=torch.cat(
                [
                    (bar + 50) / 10,
                    (eccentric + 50) / 10,
                    (stator + 45) / 10,
                    (levels["short beside"][:, None] + 55) / 6,
                    (levels["load"] + 65) / 15,
                    upper[:, [0, _SLIP_ORDERS]] / 4 + 1.5,
                    steps[0][:, 1:2] / 4 + 3.5,
                    steps[1][:, 1:2] / 4 + 3.5,
                    levels["harmonics"] / 6 + 7,
                    (drives / shaft[:, None]).log() + 1,
                    levels["noise"] / 8 + 7,
                    levels["drift"] / 6 + 8,
                ],
                dim=1,
            ),
            supply_periods=supply,
            modulation_rates=torch.cat([slips, turns, drives], dim=1),
            lower_band_amplitudes=amplitude_from_db(torch.cat([*lower, load_levels], dim=2)),
            upper_band_ratios=amplitude_from_db(upper),
            third_harmonic_amplitudes=amplitude_from_db(
                torch.stack([*3 * [stator[:, 0]], stator[:, 1]], dim=1)
            ),
            higher_harmonic_amplitudes=amplitude_from_db(levels["harmonics"]),
            drift_deviation=amplitude_from_db(levels["drift"][:, 0]),
            noise_deviation=amplitude_from_db(levels["noise"][:, 0]),
        )

    def _draw_levels_db(self, load: Tensor) -> dict[str, Tensor]:
        """Draw levels by cause, dB relative to the supply's line.

        Those of a fault are ``[m, 2]``, for healthy and for damaged motors.
        """
        draw, count = self._draw, len(load)
        weaker = 20 * (0.4 + 0.6 * load).clamp(max=1).log10()  # Bar current grows with the load
        lines = draw.uniform(0, 1, count, _LOADS) < 0.7
        return {
            "bar": torch.stack(
                [draw.uniform(-75, -55, count), draw.uniform(-50, -34, count) + weaker], dim=1
            ),
            "eccentric": torch.stack(
                [draw.uniform(-70, -50, count), draw.uniform(-48, -32, count)], dim=1
            ),
            "shorted": torch.stack(
                [draw.uniform(-62, -42, count), draw.uniform(-44, -28, count)], dim=1
            ),
            "short beside": draw.uniform(-65, -45, count),
            "load": torch.where(lines, draw.uniform(-60, -36, count, _LOADS), -80.0),
            "harmonics": draw.uniform(-55, -30, count, _HARMONICS),
            "noise": draw.uniform(-70, -42, count, 1),
            "drift": draw.uniform(-60, -42, count, 1),
        }

    def simulate_windows(self, machines: SimulatedMotors, count: int) -> Tensor:
        """Draw ``count`` currents of each condition, ``[m, 4, count, WINDOW_SAMPLES]``."""
        draw, shape = self._draw, (len(machines), len(self.kind.conditions), count)
        time = torch.arange(WINDOW_SAMPLES) / WINDOW_SAMPLES
        supply = machines.supply_periods[:, None, None, None] * (
            1 + 0.0002 * draw.normal(*shape, 1)
        )
        # The slip follows the load, which differs between windows.
        load = (1 + 0.1 * draw.normal(*shape)).clamp(0.7, 1.3)
        envelope = torch.ones(*shape, WINDOW_SAMPLES, dtype=torch.complex64)
        envelope += machines.drift_deviation[:, None, None, None] * self._draw_drift(shape)
        for line in range(_MODULATION_COUNT):
            rate = machines.modulation_rates[:, line, None, None].expand(shape)
            level = machines.lower_band_amplitudes[:, :, line, None].expand(shape)
            if line < _SLIP_ORDERS + _SHAFT_ORDERS:
                rate = rate * load if line < _SLIP_ORDERS else rate
                lower = level * amplitude_from_db(_FAULT_SPREAD * draw.normal(*shape))
            else:  # Driven equipment runs in some windows, and idles in others
                rate = rate * (1 + _DRIVEN_WANDER * draw.normal(*shape))
                works = draw.uniform(0, 1, *shape) < 0.5
                lower = level * amplitude_from_db(_DRIVEN_SPREAD * draw.normal(*shape)) * works
            upper = lower * machines.upper_band_ratios[:, line, None, None]
            for sign, size in ((-1, lower), (1, upper)):
                angle = 2 * math.pi * sign * rate[..., None] * time + draw.phases(*shape, 1)
                envelope += torch.polar(size[..., None].expand_as(angle), angle)
        carrier = 2 * math.pi * supply * time + draw.phases(*shape, 1)
        current = (envelope * torch.polar(torch.ones_like(carrier), carrier)).real
        current += self._supply_harmonics(machines, carrier)
        noise: Tensor = current + machines.noise_deviation[:, None, None, None] * draw.normal(
            *shape, WINDOW_SAMPLES
        )
        return noise

    def _draw_drift(self, shape: tuple[int, ...]) -> Tensor:
        """Draw a drift of order 1, slower than the window, ``[*shape, WINDOW_SAMPLES]``."""
        time = torch.arange(WINDOW_SAMPLES) / WINDOW_SAMPLES
        total = torch.zeros(*shape, WINDOW_SAMPLES)
        for rate in (0.2, 0.4, 0.8):
            angle = 2 * math.pi * rate * time + self._draw.phases(*shape, 1)
            total += self._draw.normal(*shape, 1) * angle.sin() / rate**0.5
        return total

    def _supply_harmonics(self, machines: SimulatedMotors, carrier_phase: Tensor) -> Tensor:
        """Return the supply's 3rd, 5th and 7th harmonics that are below half the sampling rate.

        Args:
            machines: The m motors.
            carrier_phase: Phase of the supply, radians, ``[m, K, count, WINDOW_SAMPLES]``, as the
                result.
        """
        sizes = torch.cat(
            [
                machines.third_harmonic_amplitudes[..., None],
                machines.higher_harmonic_amplitudes[:, None].expand(-1, carrier_phase.shape[1], -1),
            ],
            dim=2,
        )
        total = torch.zeros_like(carrier_phase)
        for number, order in enumerate((3, 5, 7)):
            audible = (order * machines.supply_periods < WINDOW_SAMPLES / 2).float()[:, None, None]
            spread = amplitude_from_db(_SUPPLY_SPREAD * self._draw.normal(*carrier_phase.shape[:3]))
            size = sizes[:, :, number, None] * audible * spread
            angle = order * carrier_phase + self._draw.phases(*carrier_phase.shape[:3], 1)
            total += size[..., None] * angle.cos()
        return total
