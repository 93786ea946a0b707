//! Which families take part in a backtest, and from which origins.
//!
//! A family needs what it needs, and not what another one does: one that could forecast only the
//! smaller part of the cases is left out, unless it is the one that is asked for. So a short set
//! is judged by few origins and by the families that suit it.

use crate::parallel;

use crate::error::TrainError;
use crate::families::Model;
use crate::family::Fitted;
use crate::forecast::Forecaster;
use crate::forecast::dataset::Dataset;
use crate::host::Stage;
use steppe_spec::{Family, Kind, TrainSpec};

/// Families as they were fitted at the origins.
pub(super) struct Fits {
    /// Last periods known, oldest first.
    pub origins: Vec<i64>,
    /// Per origin the place of its models in `fitted`.
    place: Vec<usize>,
    /// Models that learn from all series, of one origin or of several.
    fitted: Vec<Vec<Model>>,
    /// Models that fit a series when they forecast it.
    local: Vec<Model>,
    /// Observations that every family has enough of.
    pub needed: usize,
    /// Families for which there is too little.
    pub left_out: Vec<Family>,
}

/// The models of one origin; none of a family that has too little data there.
type AtOrigin = Vec<Option<Model>>;

impl Fits {
    /// Fits `families` at the `origins`, where that is possible.
    pub fn of(
        data: &Dataset,
        spec: &TrainSpec,
        families: &[Family],
        origins: Vec<i64>,
        stage: &Stage<'_>,
    ) -> Result<Self, TrainError> {
        let is_global = |f: &Family| Model::recipe(*f).is_some_and(|recipe| recipe.global);
        let global: Vec<Family> = families.iter().copied().filter(is_global).collect();
        let fit_at = |number: usize| -> Result<AtOrigin, TrainError> {
            let known = data.until(origins[number]);
            let part = stage.part(&format!("origin-{number}"));
            let fit = |family: &Family| match Model::fit(*family, &known, spec, &part) {
                Ok(model) => Ok(Some(model)),
                Err(TrainError::TooShort { .. }) => Ok(None),
                Err(error) => Err(error),
            };
            global.iter().map(fit).collect()
        };
        let asked = global.iter().position(|family| spec.model.kind == Kind::Of(*family));
        let suits = |fits: &AtOrigin| asked.is_none_or(|place| fits[place].is_some());
        let mut at: Vec<AtOrigin> = Vec::new();
        let mut places: Vec<(i64, usize)> = Vec::new();
        if spec.backtest.refit && !global.is_empty() {
            let fits = parallel::each(origins.len(), fit_at);
            at = fits.into_iter().collect::<Result<_, _>>()?;
            places = origins.into_iter().enumerate().map(|(place, o)| (o, place)).collect();
        } else {
            // Once, before the first origin where there is enough for the family asked for.
            for first in 0..origins.len() {
                let fits = fit_at(first)?;
                if suits(&fits) {
                    at.push(fits);
                    places = origins[first..].iter().map(|origin| (*origin, 0)).collect();
                    break;
                }
            }
        }
        places.retain(|(_, place)| suits(&at[*place]));
        let often = |family: &usize| {
            let fitted = places.iter().filter(|(_, place)| at[*place][*family].is_some()).count();
            2 * fitted >= places.len()
        };
        let taking: Vec<usize> = (0..global.len()).filter(often).collect();
        places.retain(|(_, place)| taking.iter().all(|family| at[*place][*family].is_some()));
        let chosen = |fits: &mut AtOrigin| -> Vec<Model> {
            taking.iter().filter_map(|family| fits[*family].take()).collect()
        };
        let fitted = at.iter_mut().map(chosen).collect();
        let local = families.iter().filter(|family| !global.contains(family));
        let local = local.map(|family| Model::fit(*family, data, spec, stage));
        let local = local.collect::<Result<_, TrainError>>()?;
        let (origins, place) = places.into_iter().unzip();
        let mut fits = Self { origins, place, fitted, local, needed: 1, left_out: Vec::new() };
        fits.leave_out_the_greedy(data, spec);
        let taking: Vec<Family> = fits.families().collect();
        fits.left_out = families.iter().copied().filter(|f| !taking.contains(f)).collect();
        Ok(fits)
    }

    /// Families that take part.
    pub fn families(&self) -> impl Iterator<Item = Family> + '_ {
        let global = self.place.first().map(|place| self.fitted[*place].iter());
        global.into_iter().flatten().chain(&self.local).map(Model::family)
    }

    /// The model of `family` at the origin with the given number.
    pub fn model(&self, number: usize, family: Family) -> Option<&Model> {
        let global = self.fitted[self.place[number]].iter();
        global.chain(&self.local).find(|model| model.family() == family)
    }

    /// Leaves out families whose need of observations would leave less than half of the histories.
    fn leave_out_the_greedy(&mut self, data: &Dataset, spec: &TrainSpec) {
        let mut lengths = Vec::new();
        for origin in &self.origins {
            let views = data.series().iter().map(|series| series.until(*origin));
            lengths.extend(views.filter(|view| view.last() == *origin).map(|view| view.len()));
        }
        let long_enough = |need: usize| lengths.iter().filter(|len| **len >= need).count();
        let need_of = |fits: &Self, family: Family| {
            let needs = (0..fits.origins.len()).filter_map(|n| fits.model(n, family));
            needs.map(Forecaster::min_history).max().unwrap_or(1)
        };
        let needs: Vec<(Family, usize)> =
            self.families().map(|family| (family, need_of(self, family))).collect();
        let most = needs.iter().map(|(_, need)| long_enough(*need)).max().unwrap_or(0);
        let stays = |&(family, need): &(Family, usize)| {
            spec.model.kind == Kind::Of(family) || 2 * long_enough(need) >= most
        };
        let (staying, leaving): (Vec<_>, Vec<_>) = needs.into_iter().partition(stays);
        let leaves = |family: Family| leaving.iter().any(|(f, _)| *f == family);
        self.fitted.iter_mut().for_each(|models| models.retain(|m| !leaves(m.family())));
        self.local.retain(|model| !leaves(model.family()));
        self.needed = staying.into_iter().map(|(_, need)| need).max().unwrap_or(1);
    }
}
