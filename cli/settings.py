"""The settings, with a sentence instead of a validation error."""

from pydantic import ValidationError

from core.errors import StartupError
from core.settings import Settings


def load_settings() -> Settings:
    try:
        settings = Settings()
        return settings.model_copy(update={"data_dir": settings.data_dir.expanduser().absolute()})
    except ValidationError as error:
        wrong = error.errors()[0]
        variable = f"FORGE_{str(wrong['loc'][0]).upper()}"
        raise StartupError(
            f"{variable} is {wrong['input']!r}: {wrong['msg'][0].lower()}{wrong['msg'][1:]}. Correct or unset it."
        ) from error
