"""Bundles in MLflow's model registry: register, promote behind the gate, roll back.

The alias ``champion`` says who is champion, a tag of the model who was before. They are written one
after the other, so the tag is written such that it holds all champions up to the present one
whenever the process dies: what comes after the present one in it never was, or is no more.
"""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from recsys import __version__
from recsys.errors import ArtifactError, ConfigError, DataError
from recsys.serving.bundle import Bundle
from recsys.serving.gate import judge_bundles, judge_bundles_on
from recsys.tracking import quiet_mlflow

__all__ = ["CHAMPION", "Promotion", "Registry", "mlflow_store"]

CHAMPION = "champion"
DIGEST, STACK = "recsys.digest", "recsys.champions"  # tags of a version, of the model
ARTIFACT = "bundle"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Promotion:
    """What became of a candidate.

    Attributes:
        version: of the registered model.
        promoted: whether it has become the champion.
        is_champion: whether it was the champion before.
        why: what was compared, in one line.
    """

    version: str
    promoted: bool
    is_champion: bool
    why: str


class Registry:
    """A registered model of an MLflow store, its versions being bundles."""

    def __init__(self, uri: str, model: str = "recsys", experiment: str = "recsys") -> None:
        """Open the registry.

        Args:
            uri: of MLflow's tracking store, such as ``sqlite:///runs/mlflow.db``.
            model: the name of the registered model.
            experiment: where the versions are recorded.

        Raises:
            ArtifactError: the store does not answer.
        """
        quiet_mlflow()
        from mlflow import MlflowClient

        for chatty in ("mlflow", "alembic"):  # after the import, which sets their levels
            logging.getLogger(chatty).setLevel(logging.WARNING)
        self.uri = uri
        self.model = model
        self.experiment = experiment
        with _our_error(uri):
            self._client: Any = MlflowClient(uri, uri)
            self._client.search_registered_models(max_results=1)

    def register(self, bundle: Bundle, alias: str | None = None) -> str:
        """Log a bundle as a pyfunc model and register it; one that is there is not sent again.

        Args:
            bundle: to be sent.
            alias: that points to it from now on; not that of the champion, see `promote`.

        Returns:
            The version of the registered model.

        Raises:
            ConfigError: the alias is that of the champion.
            ArtifactError: the store does not answer.
        """
        if alias == CHAMPION:
            raise ConfigError(
                f"register: the alias {CHAMPION!r} is given by `recsys promote BUNDLE`, which "
                "holds it against the present one (--anyway: whatever comes out)"
            )
        with _our_error(self.uri):
            version = self._version_of(bundle) or self._log(bundle)
            if alias is not None:
                self._client.set_registered_model_alias(self.model, alias, version)
        return version

    def promote(self, bundle: Bundle, *, anyway: bool = False, on: Path | None = None) -> Promotion:
        """Make a bundle the champion if it beats the present one; the first one needs not.

        Args:
            bundle: the candidate; it is registered in any case.
            anyway: promote it whatever the gate says.
            on: a finished run by whose held-out rows both are judged; None: by the lists that
                both were measured on, for which their logs must be the same.

        Raises:
            ArtifactError: the store does not answer, or the champion cannot be read.
        """
        version, past = self.register(bundle), self._champions()
        if not past:
            self._crown([version])
            return Promotion(version, True, False, "there was no champion")
        if past[-1] == version:
            return Promotion(version, False, True, "it is the champion already")
        promoted, why = self._judge(bundle, past[-1], on)
        why = f"against the champion, version {past[-1]}: {why}"
        if promoted or anyway:
            self._crown([*past, version])
        return Promotion(version, promoted or anyway, False, why)

    def rollback(self) -> tuple[str, str]:
        """Make the previous champion the champion again; return the versions (now, before).

        Raises:
            ArtifactError: there is none, or the store does not answer.
        """
        past = self._champions()
        if len(past) < 2:
            raise ArtifactError(f"{self.uri}: {self.model!r} has had no champion before this one")
        self._write(past)  # without what a dead process may have left after the present one
        with _our_error(self.uri):
            self._client.set_registered_model_alias(self.model, CHAMPION, past[-2])
        self._write(past[:-1])
        return past[-2], past[-1]

    def champion(self) -> str | None:
        """The champion's version, if there is one."""
        past = self._champions()
        return past[-1] if past else None

    def version_of(self, alias: str) -> str:
        """The version that an alias points to.

        Raises:
            ArtifactError: there is none, or the store does not answer.
        """
        with _our_error(self.uri):
            return str(self._client.get_model_version_by_alias(self.model, alias).version)

    def bundle_folder(self, version: str, scratch: Path) -> Path:
        """Where the bundle of a version lies on this machine.

        Args:
            version: of the registered model.
            scratch: where it is put if it has to be fetched first; the caller removes it.

        Raises:
            ArtifactError: there is no such version, or the store does not answer.
        """
        from mlflow.artifacts import download_artifacts
        from mlflow.utils.uri import is_local_uri

        with _our_error(self.uri):
            source = self._client.get_model_version_download_uri(self.model, version)
            folder = download_artifacts(
                artifact_uri=f"{source}/artifacts",
                dst_path=None if is_local_uri(source) else str(scratch),
                tracking_uri=self.uri,
            )
        (bundle,) = Path(folder).iterdir()
        return bundle

    def _judge(self, bundle: Bundle, champion: str, on: Path | None) -> tuple[bool, str]:
        try:
            with TemporaryDirectory(prefix="recsys-") as scratch:
                folder = self.bundle_folder(champion, Path(scratch))
                other = Bundle.load(folder)
                found = (
                    judge_bundles(bundle, other)
                    if on is None
                    else judge_bundles_on(bundle, other, on)
                )
        except DataError as error:
            return False, f"cannot be compared: {error}"
        return found.better, str(found)

    def _version_of(self, bundle: Bundle) -> str | None:
        """The version that is this very bundle."""
        if not self._exists():
            return None
        asked = f"name = '{self.model}' and tags.`{DIGEST}` = '{bundle.digest}'"
        found = self._client.search_model_versions(asked)
        return max((str(one.version) for one in found), key=int, default=None)

    def _exists(self) -> bool:
        return bool(self._client.search_registered_models(f"name = '{self.model}'"))

    def _log(self, bundle: Bundle) -> str:
        """Send a bundle as a new version."""
        import mlflow

        from recsys.serving import pyfunc_model

        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        with (
            mlflow_store(self.uri),
            mlflow.start_run(
                experiment_id=self._experiment(), run_name=f"bundle {bundle.card.name}"
            ),
        ):
            mlflow.log_metrics(
                {name.replace("@", "_at_"): value for name, value in bundle.card.evaluation.items()}
            )
            logged = mlflow.pyfunc.log_model(
                name=ARTIFACT,
                python_model=pyfunc_model.__file__,
                artifacts={ARTIFACT: str(bundle.folder)},
                signature=pyfunc_model.SIGNATURE,
                input_example=pyfunc_model.example(bundle),
                pip_requirements=[f"recsys=={__version__}"],
                metadata=bundle.card.model_dump(mode="json", include={"name", "digest", "counts"}),
            )
            found = mlflow.register_model(
                logged.model_uri, self.model, tags={DIGEST: bundle.digest}
            )
        return str(found.version)

    def _experiment(self) -> str:
        found = self._client.get_experiment_by_name(self.experiment)
        if found is not None:
            return str(found.experiment_id)
        location = None
        if self.uri.startswith("sqlite"):  # beside the database, as training does
            location = (Path(self.uri.removeprefix("sqlite:///")).parent / "mlartifacts").as_uri()
        return str(self._client.create_experiment(self.experiment, artifact_location=location))

    def _champions(self) -> list[str]:
        """All champions, the present one last; none if there is no present one."""
        with _our_error(self.uri):
            if not self._exists():
                return []
            model = self._client.get_registered_model(self.model)
        if CHAMPION not in model.aliases:
            return []
        now = str(model.aliases[CHAMPION])
        noted: list[str] = json.loads(model.tags.get(STACK, "[]"))
        if now not in noted:  # somebody gave the alias by hand
            return [*noted, now]
        while noted[-1] != now:  # a process died before it wrote the alias, or the tag
            noted.pop()
        return noted

    def _crown(self, past: list[str]) -> None:
        """Make the last one the champion."""
        self._write(past)
        with _our_error(self.uri):
            self._client.set_registered_model_alias(self.model, CHAMPION, past[-1])

    def _write(self, past: list[str]) -> None:
        with _our_error(self.uri):
            self._client.set_registered_model_tag(self.model, STACK, json.dumps(past))


@contextmanager
def _our_error(uri: str) -> Iterator[None]:
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise ArtifactError(f"{uri}: {first}; say which store with --registry") from None


@contextmanager
def mlflow_store(uri: str) -> Iterator[None]:
    """MLflow's own functions speak to this store meanwhile, and to the one before again.

    MLflow notes a store in the environment, where processes that are started later find it.
    """
    import mlflow

    names = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
    before = [os.environ.get(name) for name in names]
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before[0])
        mlflow.set_registry_uri(before[1])
        for name, value in zip(names, before, strict=True):
            if value is None:
                os.environ.pop(name, None)
