"""How a company is set up: values without a table of their own.

They are configuration, or are stored within the snapshots of a version history.
"""

from holdfast._namespace import publish as _publish
from holdfast.entities.company.autonomy import *
from holdfast.entities.company.budget import *
from holdfast.entities.company.company import *
from holdfast.entities.company.departments import *
from holdfast.entities.company.evaluation import *
from holdfast.entities.company.identity import *
from holdfast.entities.company.memory import *
from holdfast.entities.company.org_memory import *
from holdfast.entities.company.personality import *
from holdfast.entities.company.tools import *

_publish(globals())
