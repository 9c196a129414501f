"""Commands that bring a run before users: bundle, items, register, promote, rollback, serve."""

import importlib.util
import logging
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape

from recsys.errors import ConfigError

__all__ = ["add_serve_commands"]

output = Console(highlight=False)
errors = Console(stderr=True)

BundleOrRun = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle, or a finished run.")]
Name = Annotated[str, typer.Option(help="Of the registered model.")]
Store = Annotated[
    str | None,
    typer.Option(
        "--registry",
        help="MLflow's tracking store; else MLFLOW_TRACKING_URI, else runs/mlflow.db (from here).",
    ),
]


def add_serve_commands(app: typer.Typer) -> None:
    """Add them to the command line."""
    for name, command in (
        ("bundle", _bundle),
        ("items", _items),
        ("register", _register),
        ("promote", _promote),
        ("rollback", _rollback),
        ("serve", _serve),
    ):
        app.command(name)(command)


def _bundle(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    out: Annotated[Path | None, typer.Option(help="The bundle; RUN.bundle if absent.")] = None,
) -> None:
    """Put what serving needs of a run into one folder that describes itself."""
    from recsys.serving.make import make_bundle

    bundle = make_bundle(run, out)
    size = sum(file.size for file in bundle.card.files.values())
    output.print(
        f"{escape(str(bundle.folder))}: {bundle.card.short}, {len(bundle.card.files)} files, "
        f"{size / 1e6:,.1f} MB; next: recsys serve {escape(str(bundle.folder))}",
        soft_wrap=True,
    )


def _items(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle's folder.")],
    add: Annotated[
        Path | None,
        typer.Option(help="A table like the run's catalogue: items to add, or to replace."),
    ] = None,
    remove: Annotated[
        Path | None, typer.Option(help="A table, or a text file, of item ids to remove.")
    ] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Build the bundle afresh with all changes.")
    ] = False,
) -> None:
    """Add, replace or remove a bundle's items; who serves it answers with them soon after."""
    from recsys.serving.bundle import Bundle
    from recsys.serving.edit import edit_items
    from recsys.serving.rebuild import rebuild as build_again

    if add is None and remove is None and not rebuild:
        raise ConfigError("items: give --add, --remove or --rebuild")
    if add is not None or remove is not None:
        done = edit_items(bundle, add, remove)
        output.print(
            f"{escape(str(bundle))}: items added {done.added:,}, replaced {done.replaced:,}, "
            f"removed {done.removed:,}; change {done.generation:,}",
            soft_wrap=True,
        )
        if done.ignored:
            names = escape(", ".join(done.ignored))
            output.print(f"ignored, as the catalogue has no such columns: {names}", soft_wrap=True)
    if rebuild:
        before = Bundle.load(bundle).digest
        made = build_again(bundle)
        what = "nothing to build in" if made.digest == before else "built afresh"
        items = made.card.counts["items"]
        output.print(
            f"{escape(str(bundle))}: {what}: {made.card.short}, {items:,} items", soft_wrap=True
        )


def _register(
    bundle: BundleOrRun,
    alias: Annotated[
        str | None,
        typer.Option(help="That points to it, such as staging."),
    ] = None,
    name: Name = "recsys",
    registry: Store = None,
) -> None:
    """Log a bundle in MLflow as a pyfunc model and register it."""
    from recsys.serving.make import as_bundle
    from recsys.serving.registry import Registry

    made = as_bundle(bundle)
    version = Registry(_store(registry), name).register(made, alias)
    pointed = f", alias {alias}" if alias else ""
    output.print(f"{name} version {version}: {made.card.short}{pointed}", soft_wrap=True)


def _promote(
    bundle: BundleOrRun,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Whatever the gate says; it is still said.")
    ] = False,
    on: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Ask both anew for what this finished run held out, about users and items that "
            "both know: for a champion of an older log.",
        ),
    ] = None,
    name: Name = "recsys",
    registry: Store = None,
) -> None:
    """Make a bundle the champion if it beats the present one; exit code 1 if it does not."""
    from recsys.serving.make import as_bundle
    from recsys.serving.registry import Registry

    made = as_bundle(bundle)
    found = Registry(_store(registry), name).promote(made, anyway=anyway, on=on)
    became = "is the champion now" if found.promoted else "is not promoted"
    output.print(
        f"{name} version {found.version} ({made.card.name}, {made.card.short}) {became}",
        soft_wrap=True,
    )
    output.print(escape(found.why), soft_wrap=True)
    if not found.promoted and not found.is_champion:
        raise typer.Exit(1)


def _rollback(name: Name = "recsys", registry: Store = None) -> None:
    """Make the previous champion the champion again."""
    from recsys.serving.registry import Registry

    now, before = Registry(_store(registry), name).rollback()
    output.print(f"{name} version {now} is the champion again, instead of {before}")


def _serve(
    bundle: Annotated[
        str,
        typer.Argument(help="A bundle's folder, a link to one, or models:/NAME@ALIAS."),
    ],
    host: Annotated[str, typer.Option(help="To listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="To listen at.")] = 8000,
    reload: Annotated[
        float, typer.Option(min=0.1, help="Seconds between looking for another bundle.")
    ] = 5.0,
    threads: Annotated[
        int, typer.Option(min=1, help="Requests computed at the same time.")
    ] = os.cpu_count() or 1,
    timeout: Annotated[float, typer.Option(min=0.01, help="Seconds until a 503.")] = 5.0,
    max_body: Annotated[int, typer.Option(min=1, help="Bytes of a request.")] = 1_000_000,
    registry: Store = None,
) -> None:
    """Answer over HTTP; another bundle put in its place is taken over without a gap."""
    for module in ("fastapi", "uvicorn", "prometheus_client"):
        if importlib.util.find_spec(module) is None:
            raise ConfigError(f'recsys serve needs {module}: pip install "recsys[serve]"')
    from recsys.serving.app import Limits
    from recsys.serving.server import serve, source_of

    logger = logging.getLogger("recsys")
    logger.setLevel(logging.INFO)
    logger.handlers = [RichHandler(console=errors, show_path=False, log_time_format="%X")]
    serve(
        source_of(bundle, _store(registry)),
        host=host,
        port=port,
        reload=reload,
        limits=Limits(threads=threads, seconds=timeout, body=max_body),
    )


def _store(given: str | None) -> str:
    """The MLflow store: the one given, else that of the environment, else runs/mlflow.db."""
    database = Path("runs", "mlflow.db").resolve()
    return given or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{database}"
