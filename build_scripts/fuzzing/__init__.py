"""The parts of fuzz.py: what is drawn, what is called, what is looked for in the answers, and the processes."""
