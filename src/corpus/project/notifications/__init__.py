"""Step 15: tell people and machines how a deployment ended, by mail, web hook and Salt event.

``keep`` remembers whom to tell, ``put`` writes down that there is something to tell, both
during the deployment; ``deliver`` sends it once the deployment is over and its lock free.
"""

from corpus.project.notifications.outbox import deliver, put, waiting
from corpus.project.notifications.sending import Fire, send
from corpus.project.notifications.settings import Notify, keep, parse
from corpus.project.notifications.status import Status

__all__ = ["Fire", "Notify", "Status", "deliver", "keep", "parse", "put", "send", "waiting"]
