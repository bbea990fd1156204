"""Simulation of gear pairs: data sheets, hidden properties, and windows.

Meshing teeth cause a tone (the mesh) and its harmonics, which both shafts modulate in amplitude and
phase, since no gear is perfectly round (Randall, 1982). A damaged tooth is in mesh for a short part
of its shaft's turn: there it weakens the mesh, shifts its phase, and causes an impact (McFadden,
1986). Worn teeth raise the harmonics of the mesh, the second one most, strengthen the modulation by
both shafts, and rub: their noise swells with the mesh (Randall, 2011, section 2.2.2). The structure
responds to impacts and noise with its resonances. Driven equipment, such as a piston or a coupling,
causes impacts at its own rate, and loads change from window to window. The windows also contain
harmonics of both shafts, another pair of gears on one of them, mains, and sensor noise. The papers
are listed in ``wg_common.machines.gearbox``.

Not simulated: planetary stages, changing speed, misaligned shafts, damaged bearings, several
damages.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from wg_common.machines import gearbox
from wg_common.machines.base import WINDOW_SAMPLES, MachineKind
from wg_server.generator.weights.random_draws import (
    RESPONSE_SUMMARY_SIZE,
    SIMULATED_SAMPLE_COUNT,
    RandomDraws,
    amplitude_from_db,
    summarise_responses,
)

_MESH_HARMONIC_COUNT, _SHAFT_ORDER_COUNT = (
    4,
    3,
)  # Numbers of mesh harmonics, and of shaft harmonics that modulate them
_DAMAGE_COUNT = 2  # Pinion's tooth, gear's tooth
_MESHING_TEETH_RANGE = (30.0, 400.0)  # Teeth per window
_MIN_GEAR_TURNS = 2.0  # Smallest number of the gear's turns per window
_SAMPLING_RATE_RANGE = (1000, 51200)  # Hz
_MESH_SPREAD, _DAMAGE_SPREAD, _DRIVEN_SPREAD = 2.0, 2.0, 4.0  # Deviation between windows, dB


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedGearboxes:
    """Batch of m simulated gear pairs.

    Attributes:
        figures: Declared figures, ``[m, 5]``: speed (1/min), sampling rate (Hz), teeth of pinion
            and gear, load.
        hidden_figures: Hidden properties, scaled to order 1, ``[m, hidden_figure_count]``.
        turns_per_window: True turns of pinion and gear per window, ``[m, 2]``.
        frequency_response: Complex frequency response of the structure, ``[m,
            SIMULATED_SAMPLE_COUNT / 2 + 1]``.
        noise_amplitudes: Amplitude of the noise at the same frequencies as ``frequency_response``.
        mesh_amplitudes: Amplitude of each harmonic of the mesh, ``[m, _MESH_HARMONIC_COUNT]``.
        wear_gains_db: Increase of each mesh harmonic by wear in dB, ``[m, _MESH_HARMONIC_COUNT]``.
        runout_depths: Depth of the modulation by each harmonic of each shaft, ``[m, 2,
            _SHAFT_ORDER_COUNT]``.
        worn_runout_factor: Factor by which worn teeth increase ``runout_depths``, ``[m]``.
        rubbing_noise_share: Share of the noise that swells with the mesh of worn teeth, ``[m]``.
        impact_levels_db: Level of each damaged tooth's vibration over the noise in dB, ``[m, 2]``.
        damaged_tooth_changes: Decrease of amplitude and shift of phase (radians) of the mesh at
            each damaged tooth, ``[m, 2, 2]``.
        damage_length_teeth: Time that a damaged tooth is in mesh, in teeth, ``[m]``.
        tones: Frequency in cycles per window, and amplitude, of n other tones, ``[m, 2, n]``.
        driven_impacts: Impacts of driven equipment: number per window, and level over the noise in
            dB, ``[m, 2]``.
    """

    figures: Tensor
    hidden_figures: Tensor
    turns_per_window: Tensor
    frequency_response: Tensor
    noise_amplitudes: Tensor
    mesh_amplitudes: Tensor
    wear_gains_db: Tensor
    runout_depths: Tensor
    worn_runout_factor: Tensor
    rubbing_noise_share: Tensor
    impact_levels_db: Tensor
    damaged_tooth_changes: Tensor
    damage_length_teeth: Tensor
    tones: Tensor
    driven_impacts: Tensor

    def __len__(self) -> int:
        return len(self.figures)


class GearboxSimulator:
    """Simulator of gear pairs and their windows; all randomness comes from one seed."""

    kind: MachineKind = gearbox.MACHINE_KIND
    hidden_figure_count = (
        2 * RESPONSE_SUMMARY_SIZE
        + 2 * _MESH_HARMONIC_COUNT
        + 2 * _SHAFT_ORDER_COUNT
        + 2
        + 2
        + 4
        + 1
        + 1
        + 2
    )

    def __init__(self, seed: int) -> None:
        self._draw = RandomDraws(seed)

    def _draw_figures(self, count: int) -> Tensor:
        """Draw figures ``[count, 5]`` of gear pairs whose gear turns at least twice per window."""
        draw = self._draw
        pinion_teeth = draw.log_uniform(13, 45, count).floor()
        low, high = _MESHING_TEETH_RANGE
        # A gear with twice as many teeth needs twice as many meshing teeth per turn.
        largest = (0.8 * high / _MIN_GEAR_TURNS / pinion_teeth).clamp(max=7)
        ratio = (largest.log() * draw.uniform(0, 1, count)).exp()
        gear_teeth = (pinion_teeth * ratio).round()
        least = (_MIN_GEAR_TURNS * gear_teeth).clamp(min=low).log()
        mesh = (least + (math.log(high) - least) * draw.uniform(0, 1, count)).exp()
        speed = draw.log_uniform(5, 60, count)  # Hz
        rate = (speed * pinion_teeth * WINDOW_SAMPLES / mesh).clamp(*_SAMPLING_RATE_RANGE)
        speed = mesh * rate / WINDOW_SAMPLES / pinion_teeth
        # An undeclared load is replaced by half of the nominal one.
        load = torch.where(draw.uniform(0, 1, count) < 0.7, draw.uniform(0.1, 1, count), 0.5)
        return torch.stack([60 * speed, rate, pinion_teeth, gear_teeth, load], dim=1)

    def draw_machines(self, count: int) -> SimulatedGearboxes:
        """Draw ``count`` new gear pairs."""
        draw, figures = self._draw, self._draw_figures(count)
        rate, load = figures[:, 1], figures[:, 4]
        turns = gearbox.line_frequencies(figures)[:, :2] * (1 + 0.004 * draw.normal(count, 1))
        response = draw.frequency_responses(rate, SIMULATED_SAMPLE_COUNT)
        power = response.abs().square()
        power = power / power.mean(dim=1, keepdim=True)
        frequencies = torch.fft.rfftfreq(SIMULATED_SAMPLE_COUNT).clamp(min=0.01)
        tilt = frequencies[None] ** -draw.uniform(-0.5, 1.2, count, 1)
        of_sensor = draw.amplitudes(-40, 0, count, 1)
        noise = of_sensor * tilt / tilt.mean(dim=1, keepdim=True) + (1 - of_sensor) * power
        # Heavier loads bend teeth more, and cause a louder mesh tone.
        fundamental = draw.uniform(-8, 12, count, 1) + 6 * (load[:, None] - 0.5)
        falls = -draw.uniform(-2, 10, count, _MESH_HARMONIC_COUNT - 1).cumsum(dim=1)
        mesh = torch.cat([fundamental, fundamental + falls], dim=1)
        wear = draw.uniform(2, 12, count, 1) * torch.tensor([0.4, 1.0, 0.9, 0.8])
        wear = wear + 1.5 * draw.normal(count, _MESH_HARMONIC_COUNT)
        runout = draw.log_uniform(0.02, 0.35, count, 2, 1)
        orders = torch.arange(_SHAFT_ORDER_COUNT)
        runout = runout * draw.uniform(0.1, 0.6, count, 2, _SHAFT_ORDER_COUNT) ** orders
        uneven, rub = draw.uniform(1, 2.5, count), draw.uniform(0.1, 0.8, count)
        strike = draw.uniform(-10, 8, count, 1) + 2 * draw.normal(count, _DAMAGE_COUNT)
        weakening = draw.uniform(0.05, 0.6, count, _DAMAGE_COUNT)
        dip = torch.stack([weakening, draw.uniform(0, 0.6, count, _DAMAGE_COUNT)], dim=2)
        length = draw.uniform(0.7, 2, count)  # Up to two teeth share the load
        tones = self._draw_tones(turns, rate)
        idle = draw.uniform(0, 1, count) < 0.4
        drive = turns[:, 0] * draw.log_uniform(0.2, 3, count)
        drive = torch.stack([drive, draw.uniform(-10, 6, count).where(~idle, -40)], dim=1)
        numbers = [
            summarise_responses(power),
            summarise_responses(noise),
            mesh / 8,
            (wear - 5) / 4,
            runout.flatten(1).log() + 3,
        ]
        numbers += [torch.stack([2 * uneven - 3.5, 4 * rub - 2], dim=1), strike / 5]
        numbers += [4 * dip.flatten(1) - 1.3, 2 * length[:, None] - 2.7]
        numbers += [tones[:, 1].square().sum(dim=1, keepdim=True).sqrt() - 1]
        numbers += [torch.stack([drive[:, 0].log() - 2, drive[:, 1] / 15 + 1], dim=1)]
        return SimulatedGearboxes(
            figures=figures,
            hidden_figures=torch.cat(numbers, dim=1),
            turns_per_window=turns,
            frequency_response=response,
            noise_amplitudes=noise.sqrt(),
            mesh_amplitudes=amplitude_from_db(mesh),
            wear_gains_db=wear,
            runout_depths=runout,
            worn_runout_factor=uneven,
            rubbing_noise_share=rub,
            impact_levels_db=strike,
            damaged_tooth_changes=dip,
            damage_length_teeth=length,
            tones=tones,
            driven_impacts=drive,
        )

    def _draw_tones(self, turns: Tensor, rate: Tensor) -> Tensor:
        """Draw tones, ``[m, 2, 8]``: shaft harmonics, other gears with side bands, and mains."""
        draw, count = self._draw, len(turns)
        pinion, gear = turns.unbind(dim=1)
        other_teeth = draw.uniform(9, 70, count).floor()
        shaft = torch.where(draw.uniform(0, 1, count) < 0.5, pinion, gear)
        mains = draw.choose((100.0, 120.0), count) * WINDOW_SAMPLES / rate
        cycles = [pinion, 2 * pinion, gear, 2 * gear, other_teeth * shaft]
        cycles += [(other_teeth + 1) * shaft, (other_teeth - 1) * shaft, mains]
        sizes = draw.uniform(-0.3, 0.8, count, len(cycles)).clamp(min=0)
        places = torch.stack(cycles, dim=1)
        return torch.stack([places, sizes * (places < WINDOW_SAMPLES / 2)], dim=1)

    def simulate_windows(self, machines: SimulatedGearboxes, count: int) -> Tensor:
        """Draw ``count`` windows of each condition, ``[m, 4, count, WINDOW_SAMPLES]``."""
        draw, conditions = self._draw, len(self.kind.conditions)
        shape = (len(machines), conditions, count)
        wander = 1 + 0.002 * draw.normal(*shape, 1)
        time = torch.arange(SIMULATED_SAMPLE_COUNT) / WINDOW_SAMPLES * wander
        pinion = machines.turns_per_window[:, 0, None, None, None] * time + draw.uniform(
            0, 1, *shape, 1
        )
        teeth = (machines.figures[:, 2, None, None, None], machines.figures[:, 3, None, None, None])
        # The same teeth meet again only after many turns: the angles are independent.
        gear = machines.turns_per_window[:, 1, None, None, None] * time + draw.uniform(
            0, 1, *shape, 1
        )
        wear_mask = torch.tensor([0.0, 0.0, 0.0, 1.0])[:, None, None]
        depth, bend = self._draw_modulation(machines, (pinion, gear), wear_mask)
        # Shape: [m, 2, count, SIMULATED_SAMPLE_COUNT]
        pulses = self._damaged_tooth_pulses(machines, (pinion, gear), teeth)
        for damage in range(_DAMAGE_COUNT):
            change = machines.damaged_tooth_changes[:, damage, :, None, None]
            depth[:, 1 + damage] -= change[:, 0] * pulses[:, damage]
            bend[:, 1 + damage] += change[:, 1] * pulses[:, damage]
        mesh = self._mesh_harmonics(machines, teeth[0] * pinion, depth, bend, wear_mask)
        noise = self._draw_noise(machines, teeth[0] * pinion, wear_mask)
        background = (mesh + noise)[..., -WINDOW_SAMPLES:]
        background += self._respond_to_driven_equipment(machines, time)
        background[:, 1:3] += self._respond_to_damage(machines, (pinion, gear), pulses)
        cycles, sizes = machines.tones[:, 0], machines.tones[:, 1]
        for number in range(cycles.shape[1]):
            angle = 2 * math.pi * cycles[:, number, None, None, None] * time[..., -WINDOW_SAMPLES:]
            angle = angle + draw.phases(*shape, 1)
            background += sizes[:, number, None, None, None] * angle.sin()
        out: Tensor = background
        return out

    def _draw_modulation(
        self, machines: SimulatedGearboxes, shaft_turns: tuple[Tensor, Tensor], wear_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the factor on the mesh's amplitude, and the shift of its phase, by both shafts.

        Args:
            machines: The m gearboxes.
            shaft_turns: Turns of pinion and gear, each ``[m, K, count, SIMULATED_SAMPLE_COUNT]``,
                which is also the shape of both results.
            wear_mask: 1 for the condition with worn teeth, 0 for others, ``[K, 1, 1]``.
        """
        depth, bend = torch.ones_like(shaft_turns[0]), torch.zeros_like(shaft_turns[0])
        stronger = 1 + wear_mask * (machines.worn_runout_factor[:, None, None, None] - 1)
        for number, turns in enumerate(shaft_turns):
            for order in range(_SHAFT_ORDER_COUNT):
                size = machines.runout_depths[:, number, order, None, None, None] * stronger
                # The angle of the runout is a property of the machine, not of the window.
                angle = 2 * math.pi * (order + 1) * turns
                depth += size * angle.cos()
                bend += size * (angle + 1 + number + order).cos()
        return depth, bend

    def _damaged_tooth_pulses(
        self,
        machines: SimulatedGearboxes,
        shafts: tuple[Tensor, Tensor],
        tooth_counts: tuple[Tensor, Tensor],
    ) -> Tensor:
        """Return engagement of damaged teeth, 0 to 1, ``[m, 2, count, SIMULATED_SAMPLE_COUNT]``."""
        pulses = []
        for damage, (turns, number) in enumerate(zip(shafts, tooth_counts, strict=True)):
            shaft_turns = turns[:, 1 + damage]
            distance = (shaft_turns - shaft_turns.round()) * number[:, 0]  # Teeth
            width = machines.damage_length_teeth[:, None, None] / 2.5
            pulses.append(torch.exp(-0.5 * (distance / width).square()))
        return torch.stack(pulses, dim=1)

    def _mesh_harmonics(
        self,
        machines: SimulatedGearboxes,
        mesh_turns: Tensor,
        amplitude_factor: Tensor,
        phase_shift: Tensor,
        wear_mask: Tensor,
    ) -> Tensor:
        """Return the sum of the mesh harmonics that are below half the sampling rate.

        Args:
            machines: The m gearboxes.
            mesh_turns: Meshed teeth, ``[m, K, count, SIMULATED_SAMPLE_COUNT]``, as the result.
            amplitude_factor: Factor on the amplitude, of the same shape.
            phase_shift: Shift of the phase, radians, of the same shape.
            wear_mask: 1 for the condition with worn teeth, 0 for others, ``[K, 1, 1]``.
        """
        draw, cycles = self._draw, machines.turns_per_window[:, 0] * machines.figures[:, 2]
        total = torch.zeros_like(mesh_turns)
        load = amplitude_from_db(_MESH_SPREAD * draw.normal(*mesh_turns.shape[:3]))
        for harmonic in range(1, _MESH_HARMONIC_COUNT + 1):
            audible = (harmonic * cycles < 0.48 * WINDOW_SAMPLES).float()
            size = (machines.mesh_amplitudes[:, harmonic - 1] * audible)[:, None, None]
            size = size * load * amplitude_from_db(draw.normal(*load.shape))
            wear_gain = amplitude_from_db(
                wear_mask * machines.wear_gains_db[:, harmonic - 1, None, None, None]
            )
            angle = harmonic * (2 * math.pi * mesh_turns + phase_shift) + draw.phases(
                *mesh_turns.shape[:3], 1
            )
            total += size[..., None] * wear_gain * amplitude_factor * angle.cos()
        return total

    def _draw_noise(
        self, machines: SimulatedGearboxes, mesh_turns: Tensor, wear_mask: Tensor
    ) -> Tensor:
        """Draw noise that swells with a worn mesh, ``[m, K, count, SIMULATED_SAMPLE_COUNT]``."""
        draw, shape = self._draw, (*mesh_turns.shape[:3], SIMULATED_SAMPLE_COUNT // 2 + 1)
        spectrum = torch.complex(draw.normal(*shape), draw.normal(*shape))
        noise = torch.fft.irfft(
            spectrum * machines.noise_amplitudes[:, None, None], n=SIMULATED_SAMPLE_COUNT
        )
        swell = (
            1
            + wear_mask
            * machines.rubbing_noise_share[:, None, None, None]
            * (2 * math.pi * mesh_turns).cos()
        )
        out: Tensor = noise * (SIMULATED_SAMPLE_COUNT / 2) ** 0.5 * swell
        return out

    def _respond_to_damage(
        self, machines: SimulatedGearboxes, shaft_turns: tuple[Tensor, Tensor], pulses: Tensor
    ) -> Tensor:
        """Return the vibration caused by each damaged tooth, ``[m, 2, count, WINDOW_SAMPLES]``."""
        # A damaged tooth causes an impact as it comes into mesh, and rubs while it is in mesh.
        strikes = torch.stack([_turn_start_mask(shaft_turns[k][:, 1 + k]) for k in (0, 1)], dim=1)
        force = self._vary_impacts(strikes) + 0.15 * pulses * self._draw.normal(*pulses.shape)
        return self._housing_response(
            machines, force, machines.impact_levels_db[:, :, None], _DAMAGE_SPREAD
        )

    def _respond_to_driven_equipment(self, machines: SimulatedGearboxes, time: Tensor) -> Tensor:
        """Return the vibration caused by driven equipment, ``[m, K, count, WINDOW_SAMPLES]``."""
        rate, level = (value[:, None, None] for value in machines.driven_impacts.unbind(dim=1))
        shaft_turns = rate[..., None] * time + self._draw.uniform(0, 1, *time.shape[:3], 1)
        force = self._vary_impacts(_turn_start_mask(shaft_turns))
        return self._housing_response(machines, force, level, _DRIVEN_SPREAD)

    def _vary_impacts(self, strikes: Tensor) -> Tensor:
        """Multiply each impact by a random factor."""
        out: Tensor = strikes * torch.exp(0.25 * self._draw.normal(*strikes.shape))
        return out

    def _housing_response(
        self, machines: SimulatedGearboxes, force: Tensor, level_db: Tensor, spread_db: float
    ) -> Tensor:
        """Filter forces by the housing, and scale the vibration of each window to a level.

        Args:
            machines: The m gearboxes.
            force: Forces ``[m, k, count, SIMULATED_SAMPLE_COUNT]`` of k causes in each window.
            level_db: Mean level of the vibration over the noise, dB, broadcast to ``[m, k,
                count]``.
            spread_db: Standard deviation of the level between windows, dB.

        Returns:
            Vibration ``[m, k, count, WINDOW_SAMPLES]``.
        """
        response = machines.frequency_response[:, None, None]
        answer = torch.fft.irfft(torch.fft.rfft(force) * response, n=SIMULATED_SAMPLE_COUNT)[
            ..., -WINDOW_SAMPLES:
        ]
        answer = answer / (answer.square().mean(dim=-1, keepdim=True).sqrt() + 1e-9)
        level_db = level_db + spread_db * self._draw.normal(*answer.shape[:3])
        out: Tensor = amplitude_from_db(level_db)[..., None] * answer
        return out


def _turn_start_mask(turns: Tensor) -> Tensor:
    """Return 1 at samples where increasing turns ``[..., n]`` pass an integer, and 0 elsewhere."""
    return F.pad(turns.floor().diff(dim=-1).clamp(min=0), (1, 0))
