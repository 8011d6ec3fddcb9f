"""How the engine is: pure checks of its vital signs, and a monitor that does not flap."""
