"""For all tests: no property has a deadline, since how long an example takes says more about the machine than about the code."""

from hypothesis import settings

settings.register_profile("project", deadline=None)
settings.load_profile("project")
