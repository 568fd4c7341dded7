"""An environment's side: initialisation, configuration, phases, journal, archives, rollback."""
