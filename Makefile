# make demo   installs everything into .venv and runs the main job on the synthetic dome
# make test   installs everything and runs the tests
# make lint   ruff, as in CI
PYTHON ?= python3
BIN := .venv/bin
RUNS ?= demo

.PHONY: demo test lint install clean-demo

install: .venv/installed

.venv/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

demo: install
	PYTHON=$(BIN)/python sh benchmarks/demo.sh $(RUNS)

# The mathematics of the models is backend-free; its tests run on both backends.
BACKEND_FREE := $(addprefix tests/nets/test_,layers.py point_layers.py pose_layers.py metrics.py models.py resnet.py) \
	tests/nets/test_feature_networks.py tests/training/test_losses.py

# One process per core; the tests of a file stay together, for they share what their fixtures have made.
TEST := $(BIN)/python -m pytest --numprocesses=auto --dist=loadfile

test: install
	$(TEST)
	KERAS_BACKEND=jax $(TEST) $(BACKEND_FREE)

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

clean-demo:
	rm -rf $(RUNS)
