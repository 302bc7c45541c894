"""Settings: one TOML file and the environment, typed; unknown keys are errors; all faults are told at once.

settings = Settings.load(None, os.environ)      # or the path of a file; ConfigErrors with every fault
settings.http.port, settings.origin("http.port"), settings.policy_model()
"""

from pxeserver.config.faults import ConfigErrors, Fault
from pxeserver.config.settings import Settings
from pxeserver.config.sources import DEFAULT_FILE
from pxeserver.config.subnets import SubnetSettings

__all__ = ["DEFAULT_FILE", "ConfigErrors", "Fault", "Settings", "SubnetSettings"]
