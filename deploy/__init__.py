"""How it is deployed, and the scripts that start real parts on bare machines."""
