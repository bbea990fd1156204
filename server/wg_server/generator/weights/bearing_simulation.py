"""Simulation of rolling element bearings: data sheets, hidden properties, and windows.

Whenever a rolling element passes a damaged place, an impact occurs. The rate of impacts follows
from speed and geometry, apart from slip. The load zone modulates the impacts: a damage of the inner
ring turns through it with the shaft, a damage of an element with the cage. Ageing turns impacts
into bursts of noise. The structure between bearing and sensor responds with its resonances (Randall
and Antoni, MSSP 25, 2011; McFadden and Smith, *Model for the vibration produced by a single point
defect*, JSV 96, 1984). The windows also contain noise, partly filtered by the same structure, tones
of shaft, gear and mains, and modulations unrelated to the bearing. In half of the machines, a
motor's magnetic forces at twice the mains frequency excite the structure and modulate its noise, in
windows of every condition; they come in pulses if iron saturates or a converter feeds the motor
(Tsypkin, *Induction motor condition monitoring: vibration analysis technique*, IEEE IEMDC 2011).

Not simulated: changing speed, several damages, cage damage, damaged gears.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from wg_common.machines import bearing
from wg_common.machines.base import WINDOW_SAMPLES, MachineKind
from wg_common.machines.bearing import line_frequencies
from wg_server.generator.weights.random_draws import (
    RESPONSE_SUMMARY_SIZE,
    SIMULATED_SAMPLE_COUNT,
    RandomDraws,
    summarise_responses,
)

_SAMPLING_RATE_RANGE = (6000, 51200)  # Hz
_CONTACT_ANGLES = (0.0, 0.0, 0.0, 15.0, 25.0, 40.0)  # Degrees
_TONE_COUNT, _MODULATION_COUNT = 6, 3


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedBearings:
    """Batch of m simulated bearings.

    Attributes:
        figures: Declared figures, ``[m, 7]``, in the order of the data sheet: speed (1/min),
            sampling rate (Hz), elements, their diameter, pitch diameter, contact angle, load.
        hidden_figures: Hidden properties, scaled to order 1, ``[m, HIDDEN_FIGURE_COUNT]``.
        line_rates: True frequencies of the lines in cycles per window, ``[m, 5]``, in the order of
            ``bearing.line_frequencies``.
        frequency_response: Complex frequency response of the structure, ``[m,
            SIMULATED_SAMPLE_COUNT / 2 + 1]``.
        noise_amplitudes: Amplitude of the noise at the same frequencies as ``frequency_response``.
        severity_db: Level of each damage's vibration over the noise in dB, ``[m, 3]``.
        impact_properties: Properties of impacts, ``[m, 5]``: slip, depth of the load zone,
            unevenness, and share and duration of bursts of noise.
        tones: Frequency in cycles per window, and amplitude, ``[m, 2, _TONE_COUNT]``.
        modulations: Frequency in cycles per window, and depth, ``[m, 2, _MODULATION_COUNT]``.
        magnetic_forces: Magnetic forces, ``[m, 5]``: cycles per window, vibration amplitude, depth
            of the noise's modulation, and sharpness of the pulses of both.
    """

    figures: Tensor
    hidden_figures: Tensor
    line_rates: Tensor
    frequency_response: Tensor
    noise_amplitudes: Tensor
    severity_db: Tensor
    impact_properties: Tensor
    tones: Tensor
    modulations: Tensor
    magnetic_forces: Tensor

    def __len__(self) -> int:
        return len(self.figures)


HIDDEN_FIGURE_COUNT = 2 * RESPONSE_SUMMARY_SIZE + 3 + 5 + 2 * _MODULATION_COUNT + 1 + 4
_CONDITION_COUNT = len(bearing.MACHINE_KIND.conditions)


class BearingSimulator:
    """Simulator of bearings and their windows; all randomness comes from one seed.

    Attributes:
        kind: Kind of machine: rolling bearings.
        hidden_figure_count: Number of hidden properties of a machine.
    """

    kind: MachineKind = bearing.MACHINE_KIND
    hidden_figure_count = HIDDEN_FIGURE_COUNT

    def __init__(self, seed: int) -> None:
        self._draw = RandomDraws(seed)

    def _draw_figures(self, count: int) -> Tensor:
        """Draw figures ``[count, 7]`` of bearings whose elements fit on the pitch circle."""
        ratio = self._draw.uniform(0.12, 0.34, count)
        room = (0.95 * math.pi / ratio).clamp(max=24)
        elements = (6 + (room - 6) * self._draw.uniform(0, 1, count)).floor()
        pitch = torch.exp(self._draw.uniform(math.log(20), math.log(250), count))
        speed = self._draw.uniform(10, 60, count)  # Hz
        turns = torch.exp(self._draw.uniform(math.log(0.6), math.log(8), count))
        rate = (speed * WINDOW_SAMPLES / turns).clamp(*_SAMPLING_RATE_RANGE).round()
        angle = self._draw.choose(_CONTACT_ANGLES, count)
        # An undeclared load is replaced by half of the nominal one.
        load = torch.where(
            self._draw.uniform(0, 1, count) < 0.7, self._draw.uniform(0, 1, count), 0.5
        )
        return torch.stack([60 * speed, rate, elements, ratio * pitch, pitch, angle, load], dim=1)

    def draw_machines(self, count: int) -> SimulatedBearings:
        """Draw ``count`` new machines with bearings."""
        figures = self._draw_figures(count)
        rate, load = figures[:, 1], figures[:, 6]
        # True speeds differ slightly from the declared ones.
        rates = line_frequencies(figures) * (1 + 0.004 * self._draw.normal(count, 1))
        response = self._draw.frequency_responses(rate, SIMULATED_SAMPLE_COUNT)
        power = response.abs().square()
        power = power / power.mean(dim=1, keepdim=True)
        tilt = torch.fft.rfftfreq(SIMULATED_SAMPLE_COUNT).clamp(min=0.01)[
            None
        ] ** -self._draw.uniform(-0.5, 1.2, count, 1)
        tilt = tilt / tilt.mean(dim=1, keepdim=True)
        # Share of the sensor's noise; the rest comes through the structure
        sensor_noise = 10 ** self._draw.uniform(-2, 0, count, 1)
        noise = sensor_noise * tilt + (1 - sensor_noise) * power
        severity = self._draw.uniform(-8, 8, count, 1) + 2 * self._draw.normal(count, 3)
        character = self._draw_impact_properties(load)
        mains = self._draw.choose((100.0, 120.0), count) * WINDOW_SAMPLES / rate
        tones = self._draw_tones(rates[:, 0], mains)
        hum = self._draw_magnetic_forces(mains)
        harmonic = torch.tensor([1.0, 2.0]) * rates[:, :1]
        machine_lines = torch.exp(
            self._draw.uniform(0, math.log(120), count, _MODULATION_COUNT - 2)
        )
        depth = 0.5 * self._draw.uniform(-0.7, 1, count, _MODULATION_COUNT).clamp(min=0)
        modulations = torch.stack([torch.cat([harmonic, machine_lines], dim=1), depth], dim=1)
        hidden_figures = torch.cat(
            [
                summarise_responses(power),
                summarise_responses(noise),
                severity / 5,
                (character - torch.tensor([0.01, 0.5, 0.35, 0.3, 0.09]))
                / torch.tensor([0.006, 0.25, 0.2, 0.3, 0.035]),
                4 * depth,
                modulations[:, 0].log() - 2,
                tones[:, 1].square().sum(dim=1, keepdim=True).sqrt() - 1,
                2 * hum[:, 1:3] - 0.5,
                hum[:, 3:].log() - 2,
            ],
            dim=1,
        )
        return SimulatedBearings(
            figures=figures,
            hidden_figures=hidden_figures,
            line_rates=rates,
            frequency_response=response,
            noise_amplitudes=noise.sqrt(),
            severity_db=severity,
            impact_properties=character,
            tones=tones,
            modulations=modulations,
            magnetic_forces=hum,
        )

    def _draw_impact_properties(self, load: Tensor) -> Tensor:
        """Draw the properties of impacts for machines of these loads, ``[m, 5]``."""
        count = len(load)
        return torch.stack(
            [
                self._draw.uniform(0, 0.02, count),
                (0.3 + 0.5 * load + self._draw.uniform(-0.3, 0.2, count)).clamp(0, 1),
                self._draw.uniform(0, 0.7, count),
                self._draw.uniform(-0.6, 1, count).clamp(min=0),
                self._draw.uniform(0.03, 0.15, count),
            ],
            dim=1,
        )

    def _draw_magnetic_forces(self, mains: Tensor) -> Tensor:
        """Draw the magnetic forces of machines, ``[m, 5]``; half of the machines have none.

        Args:
            mains: Twice the mains frequency of each machine, cycles per window, ``[m]``.
        """
        count = len(mains)
        has_hum = (self._draw.uniform(0, 1, count) < 0.5).float()
        amplitude = has_hum * 10 ** (self._draw.uniform(-12, 6, count) / 20)
        depth = has_hum * self._draw.uniform(0, 0.8, count)
        sharpness = torch.exp(self._draw.uniform(0, math.log(100), count))
        noise_sharpness = torch.exp(self._draw.uniform(0, math.log(20), count))
        return torch.stack([mains, amplitude, depth, sharpness, noise_sharpness], dim=1)

    def _draw_tones(self, turns: Tensor, mains: Tensor) -> Tensor:
        """Draw tones, ``[m, 2, _TONE_COUNT]``: shaft harmonics, a gear and its side band, mains."""
        count = len(turns)
        teeth = self._draw.uniform(9, 70, count).floor()
        cycles = [turns, 2 * turns, 3 * turns, teeth * turns, (teeth + 1) * turns, mains]
        amplitude = self._draw.uniform(-0.3, 0.8, count, _TONE_COUNT).clamp(min=0)
        return torch.stack([torch.stack(cycles, dim=1), amplitude], dim=1)

    def simulate_windows(self, machines: SimulatedBearings, count: int) -> Tensor:
        """Draw ``count`` windows of each condition, ``[m, 4, count, WINDOW_SAMPLES]``."""
        size, conditions = len(machines), _CONDITION_COUNT
        background = self._draw_background(machines, conditions * count)
        background = background.reshape(size, conditions, count, WINDOW_SAMPLES)
        blows = [self._draw_impacts(machines, number, count) for number in range(3)]
        excitation = torch.fft.rfft(torch.stack(blows, dim=1))  # [m, 3, count, f]
        ringing = torch.fft.irfft(
            excitation * machines.frequency_response[:, None, None], n=SIMULATED_SAMPLE_COUNT
        )
        ringing = ringing[..., -WINDOW_SAMPLES:]
        ringing = ringing / (ringing.square().mean(dim=-1, keepdim=True).sqrt() + 1e-9)
        level = machines.severity_db[:, :, None] + 2 * self._draw.normal(size, 3, count)
        background[:, 1:] += ringing * (10 ** (level / 20))[..., None]
        return background

    def _draw_background(self, machines: SimulatedBearings, count: int) -> Tensor:
        """Draw modulated noise and tones without damage, ``[m, count, WINDOW_SAMPLES]``."""
        size = len(machines)
        spectrum = torch.complex(
            self._draw.normal(size, count, SIMULATED_SAMPLE_COUNT // 2 + 1),
            self._draw.normal(size, count, SIMULATED_SAMPLE_COUNT // 2 + 1),
        )
        noise = torch.fft.irfft(
            spectrum * machines.noise_amplitudes[:, None], n=SIMULATED_SAMPLE_COUNT
        )[..., -WINDOW_SAMPLES:]
        noise = noise * (SIMULATED_SAMPLE_COUNT / 2) ** 0.5
        time = torch.arange(WINDOW_SAMPLES) / WINDOW_SAMPLES
        gain = 1 + self._sum_sines(machines.modulations, count, time)
        pulling, loudness = self._respond_to_magnetic_forces(machines, count)
        background: Tensor = noise * gain * loudness + pulling
        return background + self._sum_sines(machines.tones, count, time)

    def _respond_to_magnetic_forces(
        self, machines: SimulatedBearings, count: int
    ) -> tuple[Tensor, Tensor]:
        """Simulate the pulsation of magnetic forces in a motor.

        Returns:
            Vibration of the housing, and factor by which the pulsation modulates the noise, both
            ``[m, count, WINDOW_SAMPLES]``.
        """
        cycles, amplitude, depth, sharpness, noise_sharpness = (
            value[:, None, None] for value in machines.magnetic_forces.unbind(dim=1)
        )
        turn = self._draw.uniform(0, 1, len(machines), count, 1)
        angle = (
            2 * math.pi * (cycles * torch.arange(SIMULATED_SAMPLE_COUNT) / WINDOW_SAMPLES + turn)
        )
        force = torch.exp(sharpness * (angle.cos() - 1))
        excitation = torch.fft.rfft(force - force.mean(dim=-1, keepdim=True))
        sound = torch.fft.irfft(
            excitation * machines.frequency_response[:, None], n=SIMULATED_SAMPLE_COUNT
        )[..., -WINDOW_SAMPLES:]
        sound = sound / (sound.square().mean(dim=-1, keepdim=True).sqrt() + 1e-9)
        power = torch.exp(noise_sharpness * (angle[..., -WINDOW_SAMPLES:].cos() - 1))
        power = power / power.mean(dim=-1, keepdim=True)
        return amplitude * sound, (1 - depth + depth * power).sqrt()

    def _sum_sines(self, cycles_amplitude: Tensor, count: int, time: Tensor) -> Tensor:
        """Return sums of sines with random phases, ``[m, count, len(time)]``.

        ``cycles_amplitude`` has the sines' cycles per window, and amplitudes, ``[m, 2, n]``.
        """
        cycles, amplitude = cycles_amplitude[:, 0], cycles_amplitude[:, 1]
        total = torch.zeros(len(cycles), count, len(time))
        for number in range(cycles.shape[1]):
            phase = 2 * math.pi * self._draw.uniform(0, 1, len(cycles), count, 1)
            angle = 2 * math.pi * cycles[:, number, None, None] * time + phase
            total += amplitude[:, number, None, None] * torch.sin(angle)
        return total

    def _draw_impacts(self, machines: SimulatedBearings, damaged_part: int, count: int) -> Tensor:
        """Draw the impact forces of one damage, ``[m, count, SIMULATED_SAMPLE_COUNT]``.

        Args:
            machines: The m machines.
            damaged_part: Damaged part: 0 rolling element, 1 inner ring, 2 outer ring.
            count: Number of windows of each machine.
        """
        size = len(machines)
        slip, depth, uneven, noisy, width = (
            value[:, None, None] for value in machines.impact_properties.unbind(dim=1)
        )
        speed = 1 + 0.003 * self._draw.normal(size, count, 1)
        rate = (
            machines.line_rates[:, 2 + damaged_part, None, None] * speed / WINDOW_SAMPLES
        )  # Impacts per sample
        sample_count = int(float(rate.max()) * SIMULATED_SAMPLE_COUNT) + 3
        steps = 1 + slip * self._draw.normal(size, count, sample_count)
        at = (steps.cumsum(dim=2) - 2 * self._draw.uniform(0, 1, size, count, 1)) / rate  # Samples
        force = torch.exp(0.25 * self._draw.normal(size, count, sample_count))
        if damaged_part < 2:  # The damage turns with the cage or with the shaft
            turns = machines.line_rates[:, 1 - damaged_part, None, None] * speed / WINDOW_SAMPLES
            phase = 2 * math.pi * self._draw.uniform(0, 1, size, count, 1)
            zone = 1 - depth + depth * torch.cos(2 * math.pi * turns * at + phase)
            force = force * zone.clamp(min=0)
        if damaged_part == 0:  # A damaged element hits the two rings in turn
            force[..., 1::2] *= 1 - uneven[..., 0:1]
        inside = (at >= 0) & (at < SIMULATED_SAMPLE_COUNT - 1)
        force, at = force * inside, at.clamp(0, SIMULATED_SAMPLE_COUNT - 2)
        place = at.floor()
        part = at - place
        train = torch.zeros(size, count, SIMULATED_SAMPLE_COUNT)
        train.scatter_add_(2, place.long(), force * (1 - part))
        train.scatter_add_(2, place.long() + 1, force * part)
        # Worn places cause bursts of noise, lasting a share of the time between impacts.
        spread = (
            width / machines.line_rates[:, 2 + damaged_part, None, None] * WINDOW_SAMPLES
        )  # Samples
        smooth = torch.exp(
            -2 * (math.pi * torch.fft.rfftfreq(SIMULATED_SAMPLE_COUNT) * spread).square()
        )
        bursts = torch.fft.irfft(torch.fft.rfft(train) * smooth, n=SIMULATED_SAMPLE_COUNT).clamp(
            min=0
        )
        bursts = bursts * spread.sqrt() * self._draw.normal(size, count, SIMULATED_SAMPLE_COUNT)
        excitation: Tensor = (1 - noisy) * train + noisy * bursts * 2
        return excitation
