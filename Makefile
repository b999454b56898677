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
BACKEND_FREE := $(addprefix tests/,nets/test_layers.py training/test_losses.py nets/test_metrics.py nets/test_models.py nets/test_resnet.py)

test: install
	$(BIN)/python -m pytest
	KERAS_BACKEND=jax $(BIN)/python -m pytest $(BACKEND_FREE)

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

clean-demo:
	rm -rf $(RUNS)
