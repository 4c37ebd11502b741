"""Where `celery -A worker worker` finds the application. A missing or bad setting ends the process here, in a line."""

from __future__ import annotations

import os
import sys

from worker.alerts.lifecycle import connect_alerts
from worker.alerts.settings import AlertSettings
from worker.errors import SettingsError
from worker.fleet.settings import FleetSettings
from worker.process.lifecycle import ThisProcess, connect_lifecycle
from worker.process.monitoring import Monitoring
from worker.queue.app import CeleryPublisher, make_app
from worker.queue.consumer import make_consumer
from worker.queue.redis_transport import make_transport
from worker.queue.tasks import register_tasks
from worker.settings import Settings
from worker.telemetry.logging import tenant_key
from worker.telemetry.tracing import is_requested

try:
    settings = Settings.from_environment(needs=("DATABASE_URL", "REDIS_URL", "DEBITURA_API_KEY"))
    alerts = AlertSettings.from_environment(os.environ)
    _monitoring = Monitoring(settings, FleetSettings.from_environment())
    tenant_key(os.environ)
    is_requested(os.environ)
except SettingsError as error:
    sys.stderr.write(f"case-worker: {error}\n")
    sys.exit(2)

app = make_app(settings)
app.conf.worker_consumer = make_consumer(
    settings.database_url, settings.protection, _monitoring.liveness.consumer_heartbeat
)
if app.conf.worker_disable_prefetch:  # on Redis or Valkey
    app.conf.broker_transport = make_transport(settings.database_url, settings.protection)
_this_process = ThisProcess(settings)
register_tasks(app, settings, _this_process)
connect_lifecycle(settings, _this_process, _monitoring, CeleryPublisher(app))
connect_alerts(settings, alerts)
