# Two commands are all that is needed: `make demo` and `make test`.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DEMO   := demo

# Waiting threads sleep instead of spinning, which matters on machines that do other work as well.
export OMP_WAIT_POLICY ?= passive

# The oldest versions that hadgeo supports (constraints-oldest.txt).
OLDEST_VENV := .venv-oldest

# QGIS brings PyQt and GDAL for the system's own Python alone.
QGIS_PYTHON ?= /usr/bin/python3
QGIS_VENV   := .venv-qgis
HAS_QGIS    := $(shell { command -v qgis_process.bin || command -v qgis_process; } >/dev/null 2>&1 && \
                 $(QGIS_PYTHON) -c 'import qgis' 2>/dev/null && echo yes)

.PHONY: demo test test-all test-oldest test-qgis lint plugin offline-bundle docs gallery stamp release-check bench clean

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

# `make test-all` leaves no test out, and searches for failing examples long and at random.
PYTEST_OPTIONS := -m "not slow"
QGIS_OPTIONS   := -m "not slow"

test-all: PYTEST_OPTIONS := --hypothesis-profile=long
test-all: QGIS_OPTIONS :=
test-all: test

test: demo $(VENV)/installed-dev lint
	$(BIN)/pytest --numprocesses auto --dist worksteal $(PYTEST_OPTIONS)
ifeq ($(HAS_QGIS),yes)
	$(MAKE) test-qgis QGIS_OPTIONS='$(QGIS_OPTIONS)'
else
	@echo
	@echo "SKIPPED: the tests of the QGIS plugin (tests/qgis), because QGIS is not installed here."
endif

test-qgis: $(VENV)/installed-dev $(QGIS_VENV)/installed
	$(QGIS_VENV)/bin/flake8 --select QGS1,QGS4 qgis_plugin
	$(QGIS_VENV)/bin/bandit --quiet --recursive qgis_plugin/hadgeo_qgis
	$(QGIS_VENV)/bin/python -m pytest -c tests/qgis/pytest.ini $(QGIS_OPTIONS) tests/qgis

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

plugin: $(VENV)/installed-dev
	$(BIN)/python qgis_plugin/build.py dist

# For QGIS without a network, on machines like this one. OFFLINE="--torch cuda" or "--torch-index ADDRESS" says more.
offline-bundle: $(VENV)/installed-dev
	$(BIN)/python qgis_plugin/offline_bundle.py dist/offline-bundle $(OFFLINE)

docs: $(VENV)/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "The documentation: $(CURDIR)/site/index.html"

# Pictures of docs/gallery.md; of real scenes too, for yourself, where HADGEO_DATA names their folder.
gallery: $(VENV)/installed-dev
	$(BIN)/python docs/gallery_pictures.py docs/images/gallery

# The version from hadgeo/_version.py, authors and addresses from pyproject.toml, bounds from pyproject.toml: to where else they stand.
stamp: $(VENV)/installed-dev
	$(BIN)/python .ci/stamp.py
	$(BIN)/python .ci/oldest.py

release-check: $(VENV)/installed-docs
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[release]'
	$(BIN)/python .ci/release_check.py

# Warnings of old versions are no errors: nobody can change those.
test-oldest: $(OLDEST_VENV)/installed
	$(OLDEST_VENV)/bin/pytest --numprocesses auto --dist worksteal -m "not slow" -W default

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

$(VENV)/installed-docs: $(VENV)/installed-dev
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	@touch $@

$(OLDEST_VENV)/installed: pyproject.toml constraints-oldest.txt
	$(PYTHON) -m venv $(OLDEST_VENV)
	$(OLDEST_VENV)/bin/python -m pip install --quiet --constraint constraints-oldest.txt --editable '.[dev]'
	@touch $@

$(QGIS_VENV)/installed: tests/qgis/requirements.txt
	$(QGIS_PYTHON) -m venv --system-site-packages $(QGIS_VENV)
	$(QGIS_VENV)/bin/python -m pip install --quiet --requirement tests/qgis/requirements.txt
	@touch $@

clean:
	rm -rf $(VENV) $(OLDEST_VENV) $(QGIS_VENV) tests/qgis/.qgis-settings $(DEMO) build dist site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
