"""The folder that an agent may work in, and the rules that keep a model's paths inside of it."""

from memtrix_as.workspace.folder import Entry, Workspace, Workspaces
from memtrix_as.workspace.unfinished import Incoming

__all__ = ["Entry", "Incoming", "Workspace", "Workspaces"]
