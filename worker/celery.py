"""Where `celery -A worker worker` finds the application. A missing or bad setting ends the process here, in one line."""

from __future__ import annotations

import sys

from worker.errors import SettingsError
from worker.queue.app import make_app
from worker.queue.lifecycle import ProcessRunner, connect_lifecycle
from worker.queue.tasks import register_tasks
from worker.settings import Settings

try:
    settings = Settings.from_environment(needs=("DATABASE_URL", "REDIS_URL", "DEBITURA_API_KEY"))
except SettingsError as error:
    sys.stderr.write(f"case-worker: {error}\n")
    sys.exit(2)

app = make_app(settings)
_runner = ProcessRunner(settings)
register_tasks(app, settings, _runner)
connect_lifecycle(app, settings, _runner)
