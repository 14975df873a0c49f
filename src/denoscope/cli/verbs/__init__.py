"""The commands, one module each: `verbs/noise/random.py` is `denoscope noise random`."""
