"""Recording a call of any diffusers pipeline."""
