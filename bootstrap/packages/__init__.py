"""Package managers: one client, in shell (`client.sh`, a file a manager beside it), which bootstrap.sh is made with."""
