"""Data sheets for tests: a bearing (SKF 6205), a pair of gears, a motor."""

from decimal import Decimal

from wg_core.wire.data_sheet import Gearbox, InductionMotor, RotatingMachine

BEARING = RotatingMachine(
    shaft_speed_rpm=Decimal(1772),
    sampling_hz=Decimal(12000),
    rolling_elements=9,
    rolling_element_diameter_mm=Decimal("7.94"),
    pitch_diameter_mm=Decimal("39.04"),
    contact_angle_deg=Decimal(0),
)
GEARS = Gearbox(
    pinion_speed_rpm=Decimal(1480),
    sampling_hz=Decimal(4096),
    pinion_teeth=21,
    gear_teeth=58,
)
MOTOR = InductionMotor(
    supply_hz=Decimal(50),
    poles=4,
    shaft_speed_rpm=Decimal(1452),
    sampling_hz=Decimal(500),
)
