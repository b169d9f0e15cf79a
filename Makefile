.DEFAULT_GOAL := help
help:
	@echo workspace
