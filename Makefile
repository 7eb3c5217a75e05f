# Two commands are all that is needed: `make demo` and `make test`.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DEMO   := demo

# Waiting threads sleep instead of spinning, which matters on machines that do other work as well.
export OMP_WAIT_POLICY ?= passive

.PHONY: demo test lint bench clean

demo: $(VENV)/installed
	@mkdir -p $(DEMO)
	$(BIN)/hadgeo simulate $(DEMO)/scene.tif --rows 256 --cols 256 --rotation 12 --wedges 0.1 --seed 7 --overwrite
	$(BIN)/hadgeo detect $(DEMO)/scene.tif --pfa 1e-3 --polygons $(DEMO)/scene_anomalies.gpkg --overwrite
	$(BIN)/hadgeo quicklook $(DEMO)/scene.tif $(DEMO)/scene_anomaly.tif --polygons $(DEMO)/scene_anomalies.gpkg \
		-o $(DEMO)/scene_quicklook.png --overwrite
	$(BIN)/hadgeo evaluate $(DEMO)/scene_anomaly.tif $(DEMO)/scene_truth.tif
	@echo
	@echo "The scene:            $(CURDIR)/$(DEMO)/scene.tif"
	@echo "Its map of anomalies: $(CURDIR)/$(DEMO)/scene_anomaly.tif"
	@echo "The anomalies:        $(CURDIR)/$(DEMO)/scene_anomalies.gpkg"
	@echo "A picture of all:     $(CURDIR)/$(DEMO)/scene_quicklook.png"
	@echo "Where targets hide:   $(CURDIR)/$(DEMO)/scene_truth.tif"

test: demo $(VENV)/installed-dev lint
	$(BIN)/pytest

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/installed-dev
	@mkdir -p benchmarks/out
	$(BIN)/python benchmarks/reading.py --dir benchmarks/out
	$(BIN)/python benchmarks/engine.py --dir benchmarks/out
	$(BIN)/python benchmarks/accuracy.py

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[vector,report]'
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) $(DEMO) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
