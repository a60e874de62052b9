"""What `forge migrate` tells, to a person or to `forge up`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Prepared:
    """`admin_password` if one was generated just now, `demo_token` for the REST API if the demo is to run;
    `demo_template` is the id of the Demo Job Template while there is one, `newest_job` that of the last job."""

    revision: str
    admin_password: str | None = None
    demo_token: str | None = None
    demo_template: int | None = None
    newest_job: int | None = None
