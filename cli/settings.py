"""The settings, with a sentence instead of a validation error."""

from pydantic import ValidationError

from core.errors import StartupError
from core.settings import Settings


def load_settings() -> Settings:
    try:
        settings = Settings()
        return settings.model_copy(update={"data_dir": settings.data_dir.expanduser().absolute()})
    except RuntimeError as error:  # of pathlib: a user without a home directory, or ~somebody
        raise StartupError(
            "The home directory that the data directory is to be in is unknown: set FORGE_DATA_DIR to an absolute path."
        ) from error
    except ValidationError as error:
        wrong = error.errors()[0]
        variable = f"FORGE_{str(wrong['loc'][0]).upper()}"
        said = wrong["msg"].removeprefix("Value error, ")
        raise StartupError(
            f"{variable} is {wrong['input']!r} ({said[0].lower()}{said[1:]}): correct or unset it."
        ) from error
