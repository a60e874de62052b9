"""System job templates: Forge's own housekeeping, launched and scheduled like any other template."""

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from models.unified import UnifiedJobTemplate


class SystemJobTemplate(UnifiedJobTemplate):
    __tablename__ = "system_job_templates"
    __mapper_args__ = {"polymorphic_identity": "system_job_template"}

    id: Mapped[int] = mapped_column(ForeignKey("unified_job_templates.id", ondelete="CASCADE"), primary_key=True)
    job_type: Mapped[str] = mapped_column(String(32), default="", server_default="")
