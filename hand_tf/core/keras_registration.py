"""Imports modules together with Keras, so that Keras knows the layers in them whenever it loads a file.

`keras.saving.load_model` finds a custom class only if its module has been imported before. `import hand_tf` could do
that, but Keras takes seconds to load, and most of what hand_tf does needs no Keras. So the modules wait until somebody
imports Keras: the import system asks the finder below first, which finds Keras as it would be found without it, and
has the modules imported as soon as Keras itself has run.
"""

import importlib
import importlib.abc
import sys


def import_with_keras(*modules: str) -> None:
    """Imports `modules`, dotted names, right after Keras, or now if Keras is already imported."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder(modules))
    if "keras" in sys.modules:
        _import_all(modules)


def _import_all(modules):
    for name in modules:
        importlib.import_module(name)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds Keras with the other finders, and makes its loader import `modules`, too."""

    def __init__(self, modules):
        self.modules = modules

    def find_spec(self, fullname, path, target=None):
        if fullname != "keras":
            return None
        others = (finder for finder in list(sys.meta_path) if finder is not self and hasattr(finder, "find_spec"))
        spec = next(filter(None, (finder.find_spec(fullname, path, target) for finder in others)), None)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _Loader(spec.loader, self.modules)
        return spec


class _Loader(importlib.abc.Loader):
    """Does what `loader` does, then imports `modules`. The module that is loaded never sees this loader."""

    def __init__(self, loader, modules):
        self.loader, self.modules = loader, modules

    def __getattr__(self, name):  # for those who look at the spec of Keras without loading it
        return getattr(self.loader, name)

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self.loader
        self.loader.exec_module(module)
        _import_all(self.modules)
