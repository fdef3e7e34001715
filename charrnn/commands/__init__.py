"""The verbs of `charrnn`, one module each; a module is imported when its verb is called."""
