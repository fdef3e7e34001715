"""How the recurrent stack is computed: the same numbers as `charrnn.model.reference_stack`, faster."""
