"""Plants, as the tests of the client make them."""

from tests.client.conftest import encoder_package as encoder_package
from tests.client.conftest import good_head as good_head
from tests.client.conftest import make_plant as make_plant
from tests.client.conftest import window_encoder as window_encoder
