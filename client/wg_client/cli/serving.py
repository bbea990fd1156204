"""``wg-client serve``: predictions of the model in use over HTTP on loopback."""

from __future__ import annotations

import click

from wg_client.cli.model_in_use import chosen_model
from wg_client.cli.options import home_option, model_option, package_option
from wg_common import cli
from wg_common.cli import print_progress
from wg_common.language import text
from wg_core.site.home import ClientHome


@click.command()
@home_option
@model_option
@package_option
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=8765,
    show_default=True,
    help="Port on loopback; nothing else of the network can reach it.",
)
def serve(home: ClientHome, name: str | None, package: str | None, port: int) -> None:
    """Answer predictions on loopback, until stopped: POST one record or log to /predict/NAME.

    The answer is that of 'predict --json'. A file that cannot be read is refused with 422.
    """
    with cli.show_spinner(text("loading the model")):
        import uvicorn

        from wg_client.models.predictor import Predictor
        from wg_client.models.service import SERVER_OPTIONS, prediction_app

        predictor = Predictor.load(home, *chosen_model(home, package, name))
    print_progress(
        text("ready: curl --data-binary @FILE http://127.0.0.1:{port}/predict/FILE", port=port)
    )
    uvicorn.run(prediction_app(predictor), port=port, **SERVER_OPTIONS)


COMMANDS = (serve,)
