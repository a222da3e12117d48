"""How each format is trained: one file a format, over what they share."""

from contracts.dataset import Format
from handlers.planning.plan import Plan
from worker.trainer.hyperparameters import Hyperparameters
from worker.trainer.recipes.preference import PreferenceRecipe
from worker.trainer.recipes.pretrain import PretrainRecipe
from worker.trainer.recipes.ranking import RankingRecipe
from worker.trainer.recipes.recipe import Recipe
from worker.trainer.recipes.sft import SftRecipe

__all__ = ["Recipe", "recipe_of"]

_RECIPES: dict[Format, type[Recipe]] = {
    "sft": SftRecipe,
    "pretrain": PretrainRecipe,
    "preference": PreferenceRecipe,
    "ranking": RankingRecipe,
}


def recipe_of(plan: Plan, chosen: Hyperparameters) -> Recipe:
    """Return how the plan's format is trained."""
    return _RECIPES[plan.format](plan, chosen)
