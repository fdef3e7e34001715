"""Where hosts come from: this machine, an inventory, EC2. One protocol for all: plan, create, find, destroy."""
