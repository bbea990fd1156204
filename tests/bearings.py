"""The data sheet of a bearing, for tests: SKF 6205."""

from decimal import Decimal

from wg_core.wire.data_sheet import RotatingMachine

BEARING = RotatingMachine(
    shaft_speed_rpm=Decimal(1772),
    sampling_hz=Decimal(12000),
    rolling_elements=9,
    rolling_element_diameter_mm=Decimal("7.94"),
    pitch_diameter_mm=Decimal("39.04"),
    contact_angle_deg=Decimal(0),
)
